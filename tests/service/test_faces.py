"""Finding faces to choose from, and replacing the chosen one alone."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.service.conftest import JsonObject, Media, Service, refused


def find(service: Service, path: Path, **fields: Any) -> JsonObject:
    answer = service.client.post("/v1/faces", files={"picture": (path.name, path.read_bytes())}, data=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def thumbnail(face: JsonObject) -> bytes:
    kind, _, data = face["thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64"
    return base64.b64decode(data, validate=True)


def test_everybody_in_a_picture_is_found_from_left_to_right(service: Service, media: Media) -> None:
    found = find(service, media.group)
    picture = cv2.imread(str(media.group))
    assert (found["height"], found["width"]) == picture.shape[:2]
    faces = found["faces"]
    assert [face["index"] for face in faces] == list(range(6))
    centres = [(face["box"][0] + face["box"][2]) / 2 for face in faces]
    assert centres == sorted(centres)
    for face in faces:
        left, top, right, bottom = face["box"]
        assert 0 <= left < right <= found["width"] and 0 <= top < bottom <= found["height"]
        assert len(face["points"]) == 5 and 0 < face["score"] <= 1
        # The eyes are above the mouth, the left eye left of the right.
        (left_eye, right_eye, _, left_mouth, _) = face["points"]
        assert left_eye[0] < right_eye[0] and left_eye[1] < left_mouth[1]
        shown = cv2.imdecode(np.frombuffer(thumbnail(face), np.uint8), cv2.IMREAD_COLOR)
        assert 20 < max(shown.shape[:2]) <= 224
    service.wait_until_clean()


def test_nobody_is_no_error(service: Service, media: Media) -> None:
    assert find(service, media.landscape)["faces"] == []


def test_a_film_is_looked_at_where_asked(service: Service, media: Media) -> None:
    assert len(find(service, media.group_clip)["faces"]) == 1
    assert len(find(service, media.group_clip, time="0.5")["faces"]) == 1
    assert len(find(service, media.group_clip, time="1.5")["faces"]) == 2


@pytest.mark.parametrize("time", ["-1", "nan", "inf", "soon", "1e9", "1_0"])
def test_a_moment_that_is_none_is_refused(service: Service, media: Media, time: str) -> None:
    picture = {"picture": ("clip.mp4", media.group_clip.read_bytes())}
    answer = service.client.post("/v1/faces", files=picture, data={"time": time})
    refused(answer, 422, "bad_input", "time")


def test_a_moment_after_the_end_is_refused(service: Service, media: Media) -> None:
    picture = {"picture": ("clip.mp4", media.group_clip.read_bytes())}
    answer = service.client.post("/v1/faces", files=picture, data={"time": "60"})
    refused(answer, 422, "bad_input", "time")


def test_what_is_no_picture_is_refused_without_a_path(service: Service) -> None:
    answer = service.client.post("/v1/faces", files={"picture": ("x.jpg", b"no picture")})
    error = refused(answer, 422, "bad_input", "no video or picture")
    assert str(service.folder) not in error["message"]
    refused(service.client.post("/v1/faces", files={"time": (None, "1")}), 422, "missing_part", "picture")


def test_a_thumbnail_as_reference_replaces_that_person_only(service: Service, media: Media) -> None:
    faces = find(service, media.group)["faces"]
    before = cv2.imread(str(media.group))
    for face in (faces[2], faces[4]):
        files = {
            "source": media.source,
            "target": media.group,
            "reference": ("thumbnail.jpg", thumbnail(face)),
        }
        task = service.wait(service.make(files, {"select": "reference", "require_face": True})["id"])
        assert task["state"] == "succeeded", task["error"]
        assert task["result"]["faces"] == 1
        data = service.client.get(task["result"]["url"]).content
        after = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        change = cv2.absdiff(before, after).max(axis=2) > 25
        inside = {each["index"]: share(change, each["box"]) for each in faces}
        assert inside.pop(face["index"]) > 0.1
        assert max(inside.values()) < 0.01


def share(change: Any, box: list[float]) -> float:
    left, top, right, bottom = (round(value) for value in box)
    return float(change[top:bottom, left:right].mean())


def test_a_number_from_the_left_replaces_that_face_only(service: Service, media: Media) -> None:
    faces = find(service, media.group)["faces"]
    task = service.wait(service.make({"source": media.source, "target": media.group}, {"select": 2})["id"])
    data = service.client.get(task["result"]["url"]).content
    after = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    change = cv2.absdiff(cv2.imread(str(media.group)), after).max(axis=2) > 25
    inside = [share(change, face["box"]) for face in faces]
    assert np.argmax(inside) == 2 and inside[2] > 0.1 and sorted(inside)[-2] < 0.01
