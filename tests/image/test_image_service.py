"""The service in its container: the image's default command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.image.test_image_tasks import HARDENED
from tests.support.containers import CACHE, Container, docker, started, wait_until

# A client as the image's own Python has it: prints the answer's JSON.
CLIENT = """
import httpx, json, sys
method, path, *parts = sys.argv[1:]
files = [(name, open(file, "rb")) for name, file in (part.split("=") for part in parts)]
answer = httpx.request(method, "http://127.0.0.1:8000" + path, files=files or None, timeout=60)
is_json = answer.headers.get("content-type") == "application/json"
print(json.dumps({"status": answer.status_code, "body": answer.json() if is_json else len(answer.content)}))
"""


def ask(container: Container, method: str, path: str, **files: str) -> tuple[int, Any]:
    """Status, and the answer's JSON or its size."""
    parts = [f"{name}={file}" for name, file in files.items()]
    answer = json.loads(docker("exec", container.name, "python", "-c", CLIENT, method, path, *parts))
    return answer["status"], answer["body"]


def task(container: Container, task_id: str) -> dict[str, Any]:
    status, body = ask(container, "GET", f"/v1/tasks/{task_id}")
    assert status == 200, body
    return dict(body)


def health(container: Container) -> str:
    return str(container.inspect()["State"]["Health"]["Status"])


def answers(container: Container) -> bool:
    assert container.running(), container.logs()
    return any(event.get("event") == "listening" for event in container.events())


@contextmanager
def serving(image: str, *options: str, **env: str) -> Iterator[Container]:
    with started(image, options=options, env={"LOG_FORMAT": "json", **env}) as container:
        wait_until(lambda: answers(container), 60, "the service's first answer")
        yield container


@pytest.mark.parametrize("options", [(), HARDENED], ids=["root", "non-root, read-only"])
def test_a_task_goes_from_upload_to_download_and_leaves_no_cache(
    image: str, media: Path, options: tuple[str, ...]
) -> None:
    quick = "--health-interval=1s"
    with serving(image, f"--volume={media}:/in:ro", quick, *options) as container:
        status, made = ask(container, "POST", "/v1/tasks", source="/in/source.jpg", target="/in/short.mp4")
        assert status == 202, made
        wait_until(lambda: task(container, made["id"])["finished_at"], 120, "the task's end")
        done = task(container, made["id"])
        assert (done["state"], done["result"]["frames"]) == ("succeeded", 20), done
        assert ask(container, "GET", f"/v1/tasks/{made['id']}/result") == (200, done["result"]["bytes"])
        assert container.tasks() == []
        wait_until(lambda: health(container) == "healthy", 30, "a healthy container")
        runner = {uid for uid, command, _ in container.processes() if "facefusion_runner" in command}
        assert runner == {10001}


def test_a_service_that_does_not_answer_is_unhealthy(image: str) -> None:
    options = ("--health-interval=1s", "--health-timeout=2s", "--health-retries=1")
    with serving(image, *options) as container:
        wait_until(lambda: health(container) == "healthy", 30, "a healthy container")
        runs = "/bin/facefusion-runner serve"
        numbers = [str(pid) for _, command, pid in container.processes() if runs in command]
        container.run(f"kill -STOP {' '.join(numbers)}", user="0")
        wait_until(lambda: health(container) == "unhealthy", 30, "an unhealthy container")


def test_without_a_key_only_the_container_itself_is_served(image: str) -> None:
    key = "alice:" + "0" * 64
    for env, address in (({}, "127.0.0.1"), ({"API_KEYS": key}, "0.0.0.0"), ({"HOST": "0.0.0.0"}, "0.0.0.0")):
        with serving(image, **env) as container:
            assert f"http://{address}:8000" in container.logs()


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_task_that_was_cut_short_goes_on_in_the_next_container(
    image: str, media: Path, tmp_path: Path, how: str
) -> None:
    data, cache = tmp_path / "data", tmp_path / "cache"
    for folder in (data, cache):
        folder.mkdir(mode=0o755)
    mounts = (f"--volume={media}:/in:ro", f"--volume={data}:/data", f"--volume={cache}:{CACHE}")
    with serving(image, *mounts, SHUTDOWN_GRACE_SECONDS="1") as container:
        _, made = ask(container, "POST", "/v1/tasks", source="/in/source.jpg", target="/in/long.mp4")
        stretches = cache / made["id"] / "segments"
        wait_until(lambda: list(stretches.glob("*.npz")), 120, "the first stretch")
        if how == "stop":
            assert container.stop() < 8
            assert container.inspect()["State"]["ExitCode"] == 0, container.logs()
        else:
            docker("kill", container.name)
    assert list(stretches.glob("*.npz"))
    with serving(image, *mounts) as container:
        wait_until(lambda: task(container, made["id"])["finished_at"], 240, "the task's end")
        done = task(container, made["id"])
        assert (done["state"], done["result"]["frames"]) == ("succeeded", 600), done
        assert any("it goes on after" in warning for warning in done["warnings"])
        assert container.tasks() == []


def test_a_bad_setting_ends_the_container_before_anything_is_served(image: str) -> None:
    for env, named in (({"WORKERS": "none"}, "WORKERS"), ({"SWEEP_SCHEDULE": "often"}, "SWEEP_SCHEDULE")):
        with started(image, env=env) as container:
            assert container.wait(60) == 2
            assert named in container.logs()
