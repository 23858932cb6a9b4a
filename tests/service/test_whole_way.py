"""From the upload to the download, and nothing left behind."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from facefusion_runner.media.provenance import XMP
from tests.service.conftest import Media, Service, eventually, watch
from tests.support.clips import frame_times


def test_a_film_goes_the_whole_way(service: Service, media: Media, tmp_path: Path) -> None:
    answer = service.post({"source": media.source, "target": media.clip})
    assert answer.status_code == 202
    task_id = answer.json()["id"]
    assert answer.headers["location"] == f"/v1/tasks/{task_id}"
    assert answer.json()["target"] == {
        "kind": "video",
        "width": 160,
        "height": 160,
        "frames": 12,
        "duration": 1.0,
    }

    events = list(watch(service, task_id))
    assert {name for name, _ in events} == {"task"}
    states = [task["state"] for _, task in events]
    assert states[-1] == "succeeded" and states.index("succeeded") == len(states) - 1
    order = ["queued", "running", "succeeded"]
    assert states == sorted(states, key=order.index)
    frames = [task["progress"]["frames"] for _, task in events if task["progress"]]
    assert frames == sorted(frames)

    # What is seen when the stream ends is how the disk stays.
    kept = ["preview.jpg", "result.mp4"]
    assert sorted(path.name for path in (service.data / "tasks" / task_id).iterdir()) == kept
    assert service.leftovers() == []

    task = service.get(answer.json()["id"])
    result = task["result"]
    assert result["frames"] == result["faces"] == 12
    assert result["media_type"] == "video/mp4" and result["name"] == f"{task_id}.mp4"
    assert task["progress"] is None and task["position"] is None
    assert service.client.get(task["preview_url"]).headers["content-type"] == "image/jpeg"
    assert task["created_at"] <= task["started_at"] <= task["finished_at"] < task["expires_at"]
    assert task["timings"]["swapping"] > 0
    assert {"analysis", "generation", "blending"} <= set(task["stages"])

    fetched = service.client.get(f"/v1/tasks/{task_id}/result")
    assert fetched.status_code == 200 and len(fetched.content) == result["bytes"]
    path = tmp_path / "result.mp4"
    path.write_bytes(fetched.content)
    assert frame_times(path) == frame_times(media.clip)
    with av.open(str(path)) as container:
        assert "faces" in container.metadata["comment"].lower()
    assert XMP in fetched.content


def test_the_result_shows_the_sources_face_and_says_that_it_was_made(
    service: Service, media: Media, tmp_path: Path
) -> None:
    task = service.wait(service.make({"source": media.source, "target": media.picture})["id"])
    data = service.client.get(f"/v1/tasks/{task['id']}/result").content
    assert Image.open(io.BytesIO(data)).info["xmp"] == XMP

    before = cv2.imread(str(media.picture))
    after = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert after.shape == before.shape
    change = cv2.absdiff(before, after).max(axis=2)
    assert (change > 20).mean() > 0.03, "the face is replaced"
    assert (change[:8] > 20).mean() < 0.01, "what is no face stays"

    # The built-in encoder finds the source in the result, and does not in the target as it was.
    result = tmp_path / "after.jpg"
    result.write_bytes(data)

    def resembles_source(target: Path) -> bool:
        files = {"source": media.source, "target": target, "reference": media.source}
        options = {"select": "reference", "reference_distance": 0.85, "require_face": True}
        ended = service.wait(service.make(files, options)["id"])
        return bool(ended["state"] == "succeeded")

    assert resembles_source(result)
    assert not resembles_source(media.picture)


@pytest.fixture
def done(service: Service, media: Media) -> str:
    """The path of a result."""
    task = service.wait(service.make({"source": media.source, "target": media.picture})["id"])
    return f"/v1/tasks/{task['id']}/result"


def test_a_part_of_the_result_can_be_fetched(service: Service, done: str) -> None:
    whole = service.client.get(done)
    assert whole.headers["accept-ranges"] == "bytes"
    part = service.client.get(done, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    assert part.headers["content-range"] == f"bytes 10-19/{len(whole.content)}"
    last = service.client.get(done, headers={"Range": "bytes=-5"})
    assert last.status_code == 206 and last.content == whole.content[-5:]
    beyond = service.client.get(done, headers={"Range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416
    other = service.client.get(done, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
    assert other.status_code == 200 and other.content == whole.content


def test_a_result_that_the_client_has_is_not_sent_again(service: Service, done: str) -> None:
    tag = service.client.get(done).headers["etag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        again = service.client.get(done, headers={"If-None-Match": known})
        assert again.status_code == 304 and again.content == b"", known
        assert again.headers["etag"] == tag
    assert service.client.get(done, headers={"If-None-Match": '"another"'}).status_code == 200


def test_head_tells_of_the_result_without_sending_it(service: Service, done: str) -> None:
    whole, head = service.client.get(done), service.client.head(done)
    assert head.status_code == 200 and head.content == b""
    for name in ("content-length", "content-type", "etag", "accept-ranges"):
        assert head.headers[name] == whole.headers[name]


def test_a_download_has_the_tasks_name(service: Service, done: str) -> None:
    name = done.split("/")[3] + ".jpg"
    shown = service.client.get(done).headers["content-disposition"]
    assert shown == f'inline; filename="{name}"'
    saved = service.client.get(done, params={"download": "1"}).headers["content-disposition"]
    assert saved == f'attachment; filename="{name}"'


def test_there_is_no_result_before_the_end(service: Service, media: Media) -> None:
    task = service.make({"source": media.source, "target": media.long_clip})
    answer = service.client.get(f"/v1/tasks/{task['id']}/result")
    assert answer.status_code == 409 and answer.json()["error"]["code"] == "no_result"


def test_a_running_task_shows_its_newest_frame(service: Service, media: Media) -> None:
    task = service.make({"source": media.source, "target": media.long_clip})
    eventually(lambda: service.get(task["id"])["preview_url"] is not None, 60)
    link = service.get(task["id"])["preview_url"]
    shown = service.client.get(link)
    assert shown.status_code == 200 and shown.headers["content-type"] == "image/jpeg"
    picture = cv2.imdecode(np.frombuffer(shown.content, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape[0] == picture.shape[1] > 0


def test_several_sources_and_every_format_are_taken(service: Service, media: Media, tmp_path: Path) -> None:
    picture = cv2.imread(str(media.picture))
    begins = {"png": b"\x89PNG", "webp": b"RIFF", "jpg": b"\xff\xd8\xff"}
    tasks = {}
    for ending in begins:
        target = tmp_path / f"target.{ending}"
        cv2.imwrite(str(target), picture)
        tasks[ending] = service.make([("source", media.source), ("source", media.source), ("target", target)])
    for ending, begin in begins.items():
        task = service.wait(tasks[ending]["id"])
        assert task["result"]["name"].endswith(f".{ending}")
        assert service.client.get(task["result"]["url"]).content.startswith(begin)


@pytest.mark.parametrize(
    ("options", "kind"),
    [({"output_format": "mkv"}, "matroska"), ({"output_format": "webm"}, "matroska"), ({}, "mp4")],
    ids=["mkv", "webm", "unsaid"],
)
def test_a_film_comes_in_the_format_asked_for(
    service: Service, media: Media, tmp_path: Path, options: dict[str, str], kind: str
) -> None:
    task = service.wait(service.make({"source": media.source, "target": media.clip}, options)["id"])
    assert task["state"] == "succeeded", task["error"]
    path = tmp_path / "result"
    with path.open("wb") as file, service.client.stream("GET", task["result"]["url"]) as answer:
        shutil.copyfileobj(io.BytesIO(answer.read()), file)
    with av.open(str(path)) as container:
        assert kind in container.format.name
