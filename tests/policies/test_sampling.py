"""Policies see frames of all of the used stretch, upright, as they are swapped; long films take no longer."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from facefusion_runner.errors import InputError, MediaError
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.sampling import last_time, sample_frames
from facefusion_runner.pipeline.plan import make_plan
from facefusion_runner.policies.sampling import LARGEST_SIDE, sample
from tests.media.test_rotation import stored
from tests.pipeline.conftest import SmallTask
from tests.support import clips
from tests.support.clips import make_clip, number_of

FAST_VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"}


def seen(path: Path, **options: Any) -> list[int]:
    """Numbers of the sampled frames."""
    return [number_of(picture) for _, picture in sample_frames(probe(path), 8, threads=1, **options)]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mov", {}),
        ("a.mkv", {"options": {"g": "7", "crf": "10"}}),
        ("a.webm", {"codec": "libvpx-vp9", "options": FAST_VP9}),
        ("a.gif", {"codec": "gif", "pix_fmt": "rgb8"}),
    ],
)
def test_eight_frames_are_spread_evenly(tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    clip = make_clip(tmp_path / name, at=clips.times(57), **options)
    middles = [3.5, 10.5, 17.5, 24.5, 31.5, 38.5, 45.5, 52.5]
    assert np.abs(np.subtract(seen(clip), middles)).max() <= 0.5
    trimmed = seen(clip, trim_start=Fraction(2), trim_end=Fraction(4))
    assert np.abs(np.subtract(trimmed, [25.5, 28.5, 31.5, 34.5, 37.5, 40.5, 43.5, 46.5])).max() <= 0.5


def test_of_few_frames_all_are_shown_once(tmp_path: Path) -> None:
    for count in (1, 2, 5, 8):
        clip = make_clip(tmp_path / "clip.mp4", at=[Fraction(20 * number) for number in range(count)])
        assert seen(clip) == list(range(count))
    assert seen(clip, trim_start=Fraction(20), trim_end=Fraction(60)) == [1, 2]
    assert seen(clip, trim_start=Fraction(21), trim_end=Fraction(39)) == []


def test_a_frame_is_sampled_as_it_is_swapped(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "clip.mp4", at=clips.uneven_times(30), pix_fmt="yuv420p10le", colour=clips.BT709,
        rotation=90, flip=True, picture=stored(90, True),
    )  # fmt: skip
    info = probe(clip)
    with VideoReader(clip, info, threads=1) as reader:
        frames = {frame.time: frame.bgr for frame in reader}
    samples = list(sample_frames(info, 8, threads=1))
    assert len(samples) == 8
    for seconds, picture in samples:
        assert picture.shape == (96, 64, 3)
        assert np.array_equal(picture, frames[seconds])


def test_what_is_transparent_is_white_as_in_the_output(tmp_path: Path) -> None:
    pictures = [Image.new("RGBA", (96, 64), (200, 30, 10, 0)) for _ in range(3)]
    for number, picture in enumerate(pictures):
        picture.paste((10, 200, 30, 255), (10 + number, 10, 40, 40))
    pictures[0].save(
        tmp_path / "clip.gif", save_all=True, append_images=pictures[1:], duration=100, disposal=2
    )
    _, picture = next(sample_frames(probe(tmp_path / "clip.gif"), 8, threads=1))
    assert picture[50, 80].tolist() == [255, 255, 255]
    assert picture[20, 30].tolist() == [30, 200, 10]


def test_the_end_is_where_the_packets_end_whatever_the_header_claims(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", at=clips.times(60))
    data = clip.read_bytes()
    # Duration (RFC 9559, 5.1.2.10), an eight-byte float of milliseconds.
    at = data.index(b"\x44\x89\x88") + 3
    for claimed in (100.0, 500_000.0):
        clip.write_bytes(data[:at] + np.array(claimed, ">f8").tobytes() + data[at + 8 :])
        info = probe(clip)
        assert info.duration == Fraction(claimed) / 1000
        assert float(last_time(info)) == pytest.approx(59 / 12, abs=1e-3)
        assert seen(clip) == [4, 11, 18, 26, 33, 41, 48, 55]


def test_a_film_without_a_duration_is_sampled_to_its_end(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", at=clips.times(57), container_options={"live": "1"})
    assert probe(clip).duration is None
    assert seen(clip)[-1] in (52, 53)


def test_what_lies_between_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = 0
    check = VideoReader._check

    def counting(*arguments: Any) -> None:
        nonlocal decoded
        decoded += 1
        check(*arguments)

    monkeypatch.setattr(VideoReader, "_check", counting)
    at = [Fraction(number, 25) for number in range(1000)]
    options = {"g": "5", "crf": "30", "preset": "ultrafast"}
    clip = make_clip(tmp_path / "clip.mp4", at=at, options=options)
    assert len(list(sample_frames(probe(clip), 8, threads=1))) == 8
    assert decoded <= 8 * 7


def test_damage_in_a_sampled_frame_is_an_error(tmp_path: Path) -> None:
    options = {"g": "1", "crf": "10"}
    clip = make_clip(tmp_path / "clip.mp4", at=clips.times(8), options=options)
    broken = clips.damage_packet(clip, tmp_path / "broken.mp4", 5, lambda data: b"\xff" * len(data))
    with pytest.raises(MediaError, match=r"broken.mp4: frame .*cannot be decoded"):
        seen(broken)


def test_a_tasks_samples_are_its_pictures_and_frames_of_its_stretch(task: SmallTask) -> None:
    reference = task.folder / "reference.png"
    cv2.imwrite(str(reference), np.full((3000, 900, 3), (10, 20, 200), np.uint8))
    settings = task.settings(
        source=(reference, task.options["source"][0]), reference=reference, trim_start="0.2", trim_end="0.4"
    )
    samples = sample(settings, make_plan(settings))
    assert [each.role for each in samples] == ["source", "source", "reference", *["target"] * 5]
    assert [each.picture.shape for each in samples[1:4]] == [
        (240, 320, 3),
        (LARGEST_SIDE, 614, 3),
        (120, 160, 3),
    ]
    assert samples[2].picture[1000, 300].tolist() == [10, 20, 200]
    assert [each.seconds for each in samples[3:]] == pytest.approx([0.2, 0.24, 0.28, 0.32, 0.36])


def test_a_stretch_without_a_frame_is_an_error_and_not_a_task_that_shows_nothing(task: SmallTask) -> None:
    settings = task.settings(trim_start="0.21", trim_end="0.23")
    with pytest.raises(InputError, match="no frame lies between"):
        sample(settings, make_plan(settings))
