"""Folders that are damaged, taken, or full."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from facefusion_runner.errors import StorageError
from facefusion_runner.tasks.store import TaskStore
from facefusion_runner.tasks.task import Request
from tests.service.conftest import Media, Serve, environment, eventually, refused
from tests.service.films import kept, make_film

TMPFS = 8 << 20


def failing(folder: Path, **settings: str) -> tuple[int, str]:
    """Exit code and standard error of a service that cannot start."""
    ended = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "serve"],
        env=environment(folder, **settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in ended.stderr and ended.stdout == ""
    return ended.returncode, ended.stderr


def one_error(said: str) -> str:
    (line,) = (line for line in said.splitlines() if line.startswith("error: "))
    return line


def truncated(store: Path) -> None:
    store.write_bytes(store.read_bytes()[: store.stat().st_size // 2])


def short(store: Path) -> None:
    store.write_bytes(store.read_bytes()[:1000])


def garbage(store: Path) -> None:
    store.write_bytes(b"no database " * 1000)


def scratched(store: Path) -> None:
    whole = bytearray(store.read_bytes())
    whole[4200:8000] = bytes(range(200)) * 19
    store.write_bytes(whole)


@pytest.mark.parametrize("damage", [truncated, short, garbage, scratched])
def test_a_damaged_store_is_an_error_that_names_it(
    serve: Serve, pair: dict[str, Path], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    with serve() as service:
        service.wait(service.make(pair)["id"])
    before = kept(service)
    store = service.data / "tasks.sqlite3"
    damage(store)
    code, said = failing(service.folder)
    assert code == 1
    assert str(store) in one_error(said) and "move it away" in one_error(said)
    assert kept(service) == before, "it deleted results that the damaged store would have known"
    store.unlink()
    with serve() as service:
        assert service.client.get("/v1/tasks").json()["tasks"] == []


def test_a_data_root_belongs_to_one_service(serve: Serve, pair: dict[str, Path]) -> None:
    with serve() as service:
        code, said = failing(service.folder)
        assert code == 2
        assert "DATA_ROOT" in one_error(said) and "in use by another service" in one_error(said)
        assert service.wait(service.make(pair)["id"])["state"] == "succeeded"


def test_a_cache_root_that_is_not_ours_is_refused_before_anything_is_deleted(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "thesis.txt").write_text("mine")
    code, said = failing(tmp_path)
    assert code == 2
    assert "CACHE_ROOT" in one_error(said) and "not ours" in one_error(said)
    assert (cache / "thesis.txt").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of 8 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={TMPFS}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a filesystem cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Takes all the room there is."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


@contextmanager
def kept_full(folder: Path) -> Iterator[None]:
    """Somebody else takes all room, and at once whatever becomes free."""
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.001):
            fill(folder)

    fill(folder)
    filler = threading.Thread(target=keep)
    filler.start()
    try:
        yield
    finally:
        over.set()
        filler.join()
        fill(folder).unlink()


def test_a_task_whose_cache_has_no_room_fails_and_the_next_one_works(
    serve: Serve, pair: dict[str, Path], media: Media, small_disk: Path
) -> None:
    # Something is at work, so that the next one waits in the queue while the disk fills.
    with serve(CACHE_ROOT=str(small_disk / "cache")) as service:
        first = service.make({"source": media.source, "target": media.clip})["id"]
        waiting = service.make(pair)["id"]
        service.wait(first, "running")
        with kept_full(small_disk):
            task = service.wait(waiting)
        assert (task["state"], (task["error"] or {}).get("code")) == ("failed", "storage_failed"), task
        assert "No space" in task["error"]["message"]
        assert service.wait(service.make(pair)["id"])["state"] == "succeeded"
        assert [path.name for path in (small_disk / "cache").iterdir() if not path.name.startswith(".")] == []


def test_a_result_for_which_there_is_no_room_fails_its_task(
    serve: Serve, pair: dict[str, Path], media: Media, small_disk: Path
) -> None:
    film = make_film(small_disk.parent / "film.mp4")
    with serve(DATA_ROOT=str(small_disk / "data")) as service:
        task_id = service.make({"source": media.source, "target": film})["id"]
        service.wait(task_id, "running")
        fill(small_disk)
        task = service.wait(task_id)
        assert (task["state"], (task["error"] or {}).get("code")) == ("failed", "storage_failed"), task
        assert list((small_disk / "data" / "tasks" / task_id).iterdir()) == []
        with kept_full(small_disk):
            refused(service.post(pair), 507, "storage_failed")
            assert service.client.get("/healthz").status_code == 200
        assert service.wait(service.make(pair)["id"])["state"] == "succeeded"
        assert list((small_disk / "data" / "incoming").iterdir()) == []


def test_the_end_of_a_task_that_cannot_be_written_down_is_written_later(serve: Serve, media: Media) -> None:
    with serve() as service:
        task_id = service.make({"source": media.source, "target": media.clip})["id"]
        service.wait(task_id, "running")
        with closing(sqlite3.connect(service.data / "tasks.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            eventually(lambda: "tried again" in service.log.read_text(), 60)
            assert service.client.get("/healthz").status_code == 200
            other.execute("ROLLBACK")
        task = service.wait(task_id)
        assert (task["state"], task["attempts"]) == ("succeeded", 1)
        assert "Traceback" not in service.log.read_text()
        service.wait_until_clean()


def test_a_store_on_a_full_disk_loses_nothing_it_has_said(small_disk: Path) -> None:
    request = Request({}, {}, ("source",), "target", None, "result.jpg")
    path = small_disk / "tasks.sqlite3"
    store = TaskStore(path)
    for number in range(20):
        store.add(str(number), request, limit=1000)
    ballast = fill(small_disk)
    added = 20
    with pytest.raises(StorageError, match="full"):
        for _ in range(1000):
            store.add(str(added), request, limit=1000)
            added += 1
    assert store.counts() == {"queued": added}
    ballast.unlink()
    store.add("last", request, limit=1000)
    store.close()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM tasks").fetchone() == (added + 1,)
