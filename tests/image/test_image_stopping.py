"""However a container ends, and whenever: nothing of its tasks is left."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.containers import CACHE, Container, docker, run, started, wait_until

STOPS = 20
CANCELLED = 4


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A folder for task caches that outlasts its containers."""
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    return folder


def tasks_of(cache: Path) -> list[str]:
    return [path.name for path in cache.iterdir() if not path.name.startswith(".")]


def in_trash(cache: Path) -> list[Path]:
    return list((cache / ".trash").iterdir())


def begin(image: str, media: Path, cache: Path, out: Path, **env: str) -> AbstractContextManager[Container]:
    """A swap that takes minutes."""
    return started(
        image,
        "swap",
        options=[f"--volume={media}:/in:ro", f"--volume={out}:/out", f"--volume={cache}:{CACHE}"],
        env={
            **{"SOURCE": "/in/source.jpg", "TARGET": "/in/long.mp4", "OUTPUT": "/out/swapped.mp4"},
            **{"OVERWRITE": "true", "PROGRESS": "json", **env},
        },
    )


def swapping(container: Container) -> bool:
    assert container.running(), container.logs()
    return any(event.get("stage") == "swapping" and event.get("frames") for event in container.events())


def test_docker_stop_in_mid_swap_ends_in_time_and_leaves_nothing(
    image: str, media: Path, cache: Path, out: Path
) -> None:
    seconds = []
    for _ in range(STOPS):
        with begin(image, media, cache, out) as container:
            wait_until(lambda c=container: swapping(c), 120, "the swap's first frames")
            assert len(tasks_of(cache)) == 1
            seconds.append(container.stop())
            assert container.inspect()["State"]["ExitCode"] == CANCELLED, container.logs()
            assert (tasks_of(cache), in_trash(cache), list(out.iterdir())) == ([], [], [])
    print("seconds from SIGTERM to the end:", " ".join(f"{each:.2f}" for each in sorted(seconds)))
    assert max(seconds) < 5


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.8, 1.5, 2.5, 4.0])
def test_docker_stop_before_the_swap_has_begun_leaves_nothing_either(
    image: str, media: Path, cache: Path, out: Path, delay: float
) -> None:
    with begin(image, media, cache, out) as container:
        container.run(f"sleep {delay}")
        assert container.stop() < 5
        assert container.inspect()["State"]["ExitCode"] == CANCELLED, container.logs()
    assert (tasks_of(cache), list(out.iterdir())) == ([], [])


def test_an_interrupt_counts_as_a_stop(image: str, media: Path, cache: Path, out: Path) -> None:
    with begin(image, media, cache, out) as container:
        wait_until(lambda: swapping(container), 120, "the swap's first frames")
        docker("kill", "--signal=INT", container.name)
        assert container.wait(10) == CANCELLED
    assert (tasks_of(cache), in_trash(cache), list(out.iterdir())) == ([], [], [])


def test_what_a_killed_container_leaves_is_gone_when_it_starts_again(
    image: str, media: Path, cache: Path, out: Path
) -> None:
    with begin(image, media, cache, out) as container:
        wait_until(lambda: swapping(container), 120, "the swap's first frames")
        (left,) = tasks_of(cache)
        docker("kill", container.name)
        assert tasks_of(cache) == [left]
        docker("start", container.name)
        wait_until(lambda: left not in tasks_of(cache), 60, "the start-up sweep")
        deleted = [event for event in container.events() if event["event"] == "delete"]
        assert [(event["name"], event["reason"]) for event in deleted] == [(left, "start-up")]


def test_a_killed_container_whose_task_has_a_name_goes_on_when_it_starts_again(
    image: str, media: Path, cache: Path, out: Path
) -> None:
    with begin(image, media, cache, out, TASK_ID="film", TRIM_END="15") as container:
        wait_until(lambda: (cache / "film" / "segments" / "00000000.npz").exists(), 300, "ten seconds of it")
        docker("kill", container.name)
        docker("start", container.name)
        assert container.wait(300) == 0, container.logs()
        assert "it goes on after 120 frames" in container.logs()
    assert (out / "swapped.mp4").stat().st_size > 0
    assert (tasks_of(cache), in_trash(cache)) == ([], [])


def test_a_killed_task_is_cleared_up_after_by_its_own_container(
    image: str, media: Path, cache: Path, out: Path
) -> None:
    with begin(image, media, cache, out) as container:
        wait_until(lambda: swapping(container), 120, "the swap's first frames")
        container.kill("bin/facefusion-runner swap")
        assert container.wait(30) == 137
    assert (tasks_of(cache), in_trash(cache)) == ([], [])


def test_of_two_containers_on_one_volume_only_the_killed_one_loses_its_cache(
    image: str, media: Path, cache: Path, out: Path
) -> None:
    with (
        begin(image, media, cache, out, TASK_ID="killed", OUTPUT="/out/killed.mp4") as killed,
        begin(image, media, cache, out, TASK_ID="living", TARGET="/in/middle.mp4") as living,
    ):
        wait_until(lambda: swapping(killed) and swapping(living), 120, "both swaps")
        docker("kill", killed.name)
        sweep = run(image, "sweeper", options=[f"--volume={cache}:{CACHE}"], env={"CACHE_TTL_SECONDS": "0"})
        assert sweep.code == 0, sweep.err
        assert tasks_of(cache) == ["living"]
        assert living.wait(300) == 0, living.logs()
    assert (out / "swapped.mp4").stat().st_size > 0
    assert (tasks_of(cache), in_trash(cache)) == ([], [])
