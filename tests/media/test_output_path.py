"""The output is checked before work, appears only when complete, and nothing stays behind otherwise."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from facefusion_runner.errors import ConfigError, InputError, StorageError
from facefusion_runner.media.pictures import write_picture
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter, check_output
from tests.support import clips
from tests.support.clips import Sound, make_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "in.mp4")


def refused(path: Path, *inputs: Path, overwrite: bool = True) -> str:
    with pytest.raises(InputError) as caught:
        check_output(path, inputs, overwrite)
    message = str(caught.value)
    assert "\n" not in message and (str(path) in message or repr(str(path)) in message)
    return message


def test_a_directory_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder.mp4"
    folder.mkdir()

    assert "is a directory" in refused(folder)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "nowhere" / "out.mp4")


def test_a_folder_that_is_a_file_is_refused(clip: Path) -> None:
    refused(clip / "out.mp4")


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    assert "cannot be written" in refused(Path("/proc/out.mp4"))


def test_an_existing_output_is_refused_unless_it_may_be_replaced(tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")

    assert "--overwrite" in refused(output, overwrite=False)
    check_output(output, [], overwrite=True)
    assert output.read_bytes() == b"precious"


def test_the_input_itself_is_refused_also_through_links(tmp_path: Path, clip: Path) -> None:
    symbolic, hard = tmp_path / "symbolic.mp4", tmp_path / "hard.mp4"
    symbolic.symlink_to(clip)
    os.link(clip, hard)
    roundabout = tmp_path / "folder" / ".." / "in.mp4"
    (tmp_path / "folder").mkdir()

    for path in (clip, symbolic, hard, roundabout):
        assert "also an input" in refused(path, clip)


@pytest.mark.parametrize("name", ["out", "out.avi", "out.gif", "out.txt", ".mp4"])
def test_an_ending_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    assert ".mp4, .mov, .mkv, .webm" in refused(tmp_path / name)


@pytest.mark.parametrize("name", ["a" * 300 + ".mp4", "nul\0.mp4"])
def test_an_impossible_name_is_refused(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name)


def test_a_longest_name_can_be_written(tmp_path: Path, clip: Path) -> None:
    output = tmp_path / ("n" * 251 + ".mp4")
    check_output(output, [clip], overwrite=False)

    write(clip, output)

    assert clips.numbers(output) == list(range(12))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)

    assert "no regular file" in refused(pipe)


def write(clip: Path, output: Path, *, stop_after: int | None = None, **options: str) -> None:
    info = probe(clip)
    with (
        VideoReader(clip, info) as reader,
        VideoWriter(output, info, preset="ultrafast", **options) as writer,
    ):
        for frame in reader:
            if frame.index == stop_after:
                return
            writer.write(frame)
        assert not output.exists() or output.read_bytes() == b"precious"
        writer.commit()


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.webm", "out.mov"])
def test_the_output_appears_only_when_it_is_complete(tmp_path: Path, clip: Path, name: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()

    write(clip, folder / name, stop_after=6)
    assert list(folder.iterdir()) == []

    write(clip, folder / name)
    assert [path.name for path in folder.iterdir()] == [name]
    assert clips.numbers(folder / name) == list(range(12))


def test_what_was_there_stays_until_it_is_replaced(tmp_path: Path, clip: Path) -> None:
    output = tmp_path / "out.mp4"
    output.write_bytes(b"precious")

    write(clip, output, stop_after=6)
    assert output.read_bytes() == b"precious"

    write(clip, output)
    assert clips.numbers(output) == list(range(12))


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path, clip: Path) -> None:
    before = os.umask(0o027)
    try:
        write(clip, tmp_path / "out.mp4")
        write_picture(tmp_path / "out.png", np.zeros((8, 8, 3), np.uint8))
    finally:
        os.umask(before)

    assert (tmp_path / "out.mp4").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "out.png").stat().st_mode & 0o777 == 0o640


def test_mp4_has_its_index_in_front(tmp_path: Path, clip: Path) -> None:
    write(clip, tmp_path / "out.mp4")

    data = (tmp_path / "out.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """As on a full disk, writing beyond `size` bytes fails; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
@pytest.mark.parametrize("size", [100, 20_000, 120_000])
def test_a_disk_that_fills_up_is_a_storage_error_and_leaves_nothing(
    tmp_path: Path, name: str, size: int
) -> None:
    def noise(index: int, width: int, height: int) -> clips.Bgr:
        return np.random.default_rng(index).integers(0, 255, (height, width, 3), np.uint8)

    clip = make_clip(tmp_path / "in.mp4", picture=noise, size=(320, 240), sounds=[Sound(1)])
    folder = tmp_path / "out"
    folder.mkdir()

    with pytest.raises(StorageError, match=name), files_no_larger_than(size):
        write(clip, folder / name)

    assert list(folder.iterdir()) == []


def test_a_picture_that_does_not_fit_is_a_storage_error_and_leaves_nothing(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)

    with pytest.raises(StorageError, match=r"out\.png"), files_no_larger_than(1000):
        write_picture(tmp_path / "out.png", picture)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.webm", {"encoder": "h264"}, "cannot hold h264"),
        ("out.mov", {"encoder": "vp9"}, "cannot hold vp9"),
        ("out.mov", {"encoder": "av1_nvenc"}, "cannot hold av1"),
        ("out.mp4", {"encoder": "xvid"}, "xvid"),
    ],
)
def test_an_encoder_the_container_cannot_hold_is_refused_before_work(
    tmp_path: Path, clip: Path, name: str, options: dict[str, str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        VideoWriter(tmp_path / name, probe(clip), **options)

    assert not (tmp_path / name).exists()
