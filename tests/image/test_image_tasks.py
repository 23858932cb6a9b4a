"""Tasks in the container: `docker run IMAGE swap` and `demo`, as whoever and on whatever filesystem."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tests.support.clips import Bgr, frame_times
from tests.support.containers import CACHE, docker, run, started, wait_until

HARDENED = (
    *("--user=10001:10001", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *(f"--tmpfs={CACHE}:size=200m,mode=1777", "--tmpfs=/var/lib/facefusion/sweeper:size=1m,mode=1777"),
    "--tmpfs=/tmp:size=64m,mode=1777",
)


def volumes(media: Path, out: Path) -> list[str]:
    return [f"--volume={media}:/in:ro", f"--volume={out}:/out"]


def files(target: str, output: str) -> dict[str, str]:
    return {"SOURCE": "/in/source.jpg", "TARGET": f"/in/{target}", "OUTPUT": f"/out/{output}"}


def frames(path: Path) -> list[Bgr]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def changes(before: Bgr, after: Bgr) -> tuple[float, float]:
    """Mean difference in the middle, where the face is, and in the upper corners, where none is."""
    difference = np.abs(before.astype(int) - after).mean(axis=2)
    height, width = difference.shape
    middle = difference[height // 3 : 2 * height // 3, 2 * width // 5 : 3 * width // 5]
    corners = difference[: height // 6, [*range(width // 8), *range(-width // 8, 0)]]
    return float(middle.mean()), float(corners.mean())


def test_the_demo_swaps_faces_without_network_and_files(image: str, out: Path) -> None:
    result = run(image, "demo", "--progress", "json", options=[f"--volume={out}:/work"])
    assert result.code == 0, result.err
    done = json.loads(result.out.splitlines()[-1])
    assert done["event"] == "done"
    assert done["faces"] > 100
    folder = out / "facefusion-demo"
    portrait, swapped = (cv2.imread(str(folder / f"{name}.jpg")) for name in ("portrait", "portrait-swapped"))
    assert portrait.shape == swapped.shape
    difference = np.abs(portrait.astype(int) - swapped).mean(axis=2)
    face, wall = difference[100:180, 190:260], difference[:80, :60]
    assert face.mean() > 10 * max(wall.mean(), 0.5)
    assert len(frames(folder / "film-swapped.mp4")) == len(frames(folder / "film.mp4")) == 100


def test_a_clip_is_swapped_by_environment_variables_on_a_tmpfs_cache(
    image: str, media: Path, out: Path
) -> None:
    result = run(
        image,
        "swap",
        options=[*volumes(media, out), f"--tmpfs={CACHE}:size=200m"],
        env={**files("short.mp4", "swapped.mp4"), "CACHE_GRACE_SECONDS": "0"},
    )
    assert result.code == 0, result.err
    given, made = frames(media / "short.mp4"), frames(out / "swapped.mp4")
    assert frame_times(out / "swapped.mp4") == frame_times(media / "short.mp4")
    for before, after in zip(given, made, strict=True):
        middle, corners = changes(before, after)
        assert middle > 3 * corners
    sweeps = [json.loads(line) for line in result.err.splitlines() if line.startswith("{")]
    assert [sweep["result"] for sweep in sweeps] == ["done"]


def test_flags_and_the_exit_code_are_those_of_the_runner(image: str, media: Path, out: Path) -> None:
    result = run(
        image,
        *(
            "swap",
            "--source",
            "/in/source.jpg",
            "--target",
            "/in/short.mp4",
            "--output",
            "/out/none/swapped.mp4",
        ),
        options=volumes(media, out),
    )
    assert (result.code, result.out) == (2, "")
    assert "error: /out/none/swapped.mp4: the folder /out/none does not exist\n" in result.err


@pytest.mark.parametrize(
    "options",
    [HARDENED, ["--read-only", *HARDENED[4:]], ["--user=4242:4242"]],
    ids=["hardened", "root on a read-only filesystem", "another user"],
)
def test_it_needs_neither_root_nor_a_writable_image(
    image: str, media: Path, out: Path, options: list[str]
) -> None:
    cv2.imwrite(str(media / "picture.jpg"), frames(media / "short.mp4")[0])
    result = run(
        image,
        "swap",
        options=[*volumes(media, out), *options],
        env={**files("picture.jpg", "swapped.png"), "CACHE_GRACE_SECONDS": "0"},
    )
    assert result.code == 0, result.err
    middle, corners = changes(cv2.imread(str(media / "picture.jpg")), cv2.imread(str(out / "swapped.png")))
    assert middle > 3 * corners
    assert [line for line in result.err.splitlines() if line.startswith("entrypoint")] == []


@pytest.mark.parametrize("as_root", [True, False], ids=["root", "uid 10001"])
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SWEEP_SCHEDULE", "61 * * * *", "SWEEP_SCHEDULE='61 * * * *'"),
        ("SWEEP_SCHEDULE", "* * * * *\n* * * * * root id", "SWEEP_SCHEDULE="),
        ("CACHE_TTL_SECONDS", "5m", "CACHE_TTL_SECONDS='5m'"),
        ("CACHE_ROOT", "/usr/lib", "CACHE_ROOT=/usr/lib"),
        ("CACHE_ROOT", "", "CACHE_ROOT=''"),
    ],
)
def test_a_bad_setting_ends_the_container_with_one_line(
    image: str, as_root: bool, name: str, value: str, told: str
) -> None:
    result = run(image, "demo", options=[] if as_root else ["--user=10001:10001"], env={name: value})
    assert (result.code, result.out) == (2, "")
    assert len(result.err.splitlines()) == 1
    assert told in result.err


def test_a_folder_with_files_of_others_is_no_cache_root_and_stays_as_it_is(image: str, out: Path) -> None:
    (out / "precious").write_text("mine")
    owner = (out / "precious").stat().st_uid
    result = run(image, "demo", options=[f"--volume={out}:/data/cache"], env={"CACHE_ROOT": "/data/cache"})
    assert result.code == 2
    assert [path.name for path in out.iterdir()] == ["precious"]
    assert out.stat().st_uid == (out / "precious").stat().st_uid == owner


def test_a_root_owned_volume_is_given_to_the_runner(
    image: str, media: Path, out: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    cv2.imwrite(str(media / "picture.jpg"), frames(media / "short.mp4")[0])
    result = run(
        image,
        "swap",
        options=[*volumes(media, out), f"--volume={cache}:{CACHE}"],
        env={**files("picture.jpg", "swapped.png"), "CACHE_GRACE_SECONDS": "0"},
    )
    assert result.code == 0, result.err
    assert cache.stat().st_uid == 10001
    assert sorted(path.name for path in cache.iterdir()) == [".ff-cache-root", ".trash"]


def test_asked_for_help_it_teaches(image: str) -> None:
    result = run(image, "--help")
    assert result.code == 0
    assert "Usage: facefusion-runner" in result.out


def test_the_other_commands_say_nothing_but_their_own(image: str) -> None:
    models = run(image, "models", "list")
    assert (models.code, models.err) == (0, "")
    assert "face_mesh_468" in models.out
    sweep = run(image, "sweeper", "--json", "--dry-run")
    assert (sweep.code, sweep.err) == (0, "")
    assert json.loads(sweep.out)["result"] == "done"


def test_a_program_of_the_image_is_run_with_the_standard_input(image: str) -> None:
    result = run(image, "bash", "-c", "echo hello | cat; exit 7")
    assert (result.code, result.out) == (7, "hello\n")


def test_it_is_healthy_until_a_sweep_fails_or_is_overdue(image: str) -> None:
    state = "/var/lib/facefusion/sweeper/sweeper.prom"
    with started(image, "sweeper", "schedule") as container:
        wait_until(lambda: "sweeps at" in container.logs(), 30, "the schedule's start")
        health = "sh -c '/healthcheck.sh; echo $?' 2>&1"
        assert container.run(health) == "0\n"
        metric = "echo facefusion_cache_last_{} $(($(date +%s) - {})).25 >>" + state
        sweep, success = "sweep_timestamp_seconds", "success_timestamp_seconds"
        container.run(f"{metric.format(sweep, 9)}; {metric.format(success, 9)}")
        assert container.run(health) == "0\n"
        container.run(metric.format(sweep, 3))
        assert container.run(health).endswith("failed\n1\n")
        container.run(f"rm {state}; {metric.format(sweep, 7600)}; {metric.format(success, 7600)}")
        assert container.run(health).endswith("s ago\n1\n")
        assert docker("inspect", "--format", "{{.State.Health.Status}}", container.name) in (
            "starting\n",
            "healthy\n",
        )
