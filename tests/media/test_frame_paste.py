"""What is pasted into a frame changes, and nothing else does, at any depth and chroma format."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from facefusion_runner.media import colour
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from tests.support import clips
from tests.support.clips import BT709, HLG, LIMITED, PQ, UNSPECIFIED, make_clip

FORMATS = [
    ("libx264", "yuv420p", UNSPECIFIED),
    ("libx264", "yuv422p10le", BT709),
    ("libx264", "yuv444p", BT709),
    ("libx265", "yuv420p10le", PQ),
    ("libx265", "yuv422p10le", HLG),
    ("libx264", "yuvj420p", (1, 1, 1, clips.FULL)),
    ("libx265", "yuv444p12le", BT709),
]
formats = pytest.mark.parametrize(("codec", "pix_fmt", "colours"), FORMATS, ids=[f[1] for f in FORMATS])


def first_frame(path: Path) -> Frame:
    with VideoReader(path, probe(path)) as reader:
        return next(iter(reader))


def decoded(path: Path) -> list[NDArray[np.generic]]:
    """The first frame's planes, as FFmpeg gives them."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return [plane.copy() for plane in colour.planes(frame)]


def smooth(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([90 + x / 2, 150 - y / 2, 100 + (x + y) / 4], axis=2).astype(np.uint8)


def as_ffmpeg_shows(frame: Frame) -> NDArray[np.uint8]:
    """BGR by FFmpeg's own converter at its most exact."""
    flags = 0
    for name in ("BILINEAR", "ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP"):
        flags |= int(Interpolation[name])
    matrix = {1: "ITU709", 9: "BT2020"}.get(frame.picture.colorspace, "ITU601")
    return frame.picture.reformat(format="bgr24", src_colorspace=matrix, interpolation=flags).to_ndarray()


def blocks(bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Means of blocks of 8 by 8."""
    height, width = bgr.shape[:2]
    return bgr.reshape(height // 8, 8, width // 8, 8, 3).mean((1, 3))


@pytest.fixture
def clip(tmp_path: Path, codec: str, pix_fmt: str, colours: tuple[int, int, int, int]) -> Path:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else None
    path = tmp_path / "clip.mp4"
    return make_clip(path, codec=codec, pix_fmt=pix_fmt, colour=colours, at=clips.times(4), options=options)


@formats
def test_pixels_outside_the_rectangle_keep_their_bits(clip: Path, pix_fmt: str) -> None:
    frame = first_frame(clip)
    before = decoded(clip)

    frame.paste(21, 13, smooth(25, 37))

    for plane, original in zip(colour.planes(frame.picture), before, strict=True):
        across, down = -(-96 // plane.shape[1]), -(-64 // plane.shape[0])
        outside = np.ones(plane.shape, bool)
        outside[13 // down : -(-38 // down), 21 // across : -(-58 // across)] = False
        assert np.array_equal(plane[outside], original[outside])
        assert not np.array_equal(plane[~outside], original[~outside])


@formats
def test_pasting_what_is_there_changes_no_bit(clip: Path) -> None:
    frame = first_frame(clip)

    frame.paste(0, 0, frame.bgr.copy())

    for plane, original in zip(colour.planes(frame.picture), decoded(clip), strict=True):
        assert np.array_equal(plane, original)


@formats
def test_unchanged_pixels_inside_the_rectangle_keep_their_bits(clip: Path) -> None:
    frame = first_frame(clip)
    pixels = frame.bgr[8:40, 8:72].copy()
    pixels[12:16, 20:32] = 255 - pixels[12:16, 20:32]

    frame.paste(8, 8, pixels)

    luma, original = colour.planes(frame.picture)[0], decoded(clip)[0]
    kept = np.ones(luma.shape, bool)
    kept[20:24, 28:40] = False
    assert np.array_equal(luma[kept], original[kept])


@formats
def test_pasted_colours_come_back_within_two_levels(clip: Path) -> None:
    frame = first_frame(clip)
    pixels = smooth(32, 48)

    frame.paste(24, 16, pixels)

    difference = as_ffmpeg_shows(frame)[18:46, 26:70].astype(int) - pixels[2:-2, 2:-2]
    assert np.abs(difference).max() <= 2
    assert np.abs(difference.mean((0, 1))).max() < 0.5


@formats
def test_bgr_is_what_ffmpeg_shows(clip: Path) -> None:
    frame = first_frame(clip)

    # In means of blocks and away from edges: FFmpeg lets the chroma of neighbours run into each other.
    inner = np.s_[8:24, 8:40]
    assert np.abs(blocks(frame.bgr[inner]) - blocks(as_ffmpeg_shows(frame)[inner])).max() < 1.5


def test_pasting_again_and_again_does_not_drift(tmp_path: Path) -> None:
    frame = first_frame(make_clip(tmp_path / "clip.mp4", at=clips.times(2)))
    one, other = smooth(33, 47), smooth(33, 47) // 2
    for _ in range(10):
        frame.paste(11, 9, one)
        frame.paste(11, 9, other)
    frame.paste(11, 9, one)
    once = first_frame(tmp_path / "clip.mp4")
    once.paste(11, 9, one)

    inside = np.s_[10:41, 12:57]
    for plane, wanted in zip(colour.planes(frame.picture)[:1], colour.planes(once.picture)[:1], strict=True):
        assert np.array_equal(plane[inside], wanted[inside])


def test_pasting_does_not_reach_the_frames_that_refer_to_this_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", at=clips.times(12), options={"preset": "medium", "g": "100"})
    with VideoReader(clip, probe(clip)) as reader:
        plain = [frame.bgr.copy() for frame in reader]
    with VideoReader(clip, probe(clip), threads=1) as reader:
        for frame, original in zip(reader, plain, strict=True):
            assert np.array_equal(frame.bgr, original)
            frame.paste(0, 0, np.zeros((64, 96, 3), np.uint8))


def test_bgr_cannot_be_changed_behind_the_frames_back(tmp_path: Path) -> None:
    frame = first_frame(make_clip(tmp_path / "clip.mp4", at=clips.times(2)))

    with pytest.raises(ValueError, match="read-only"):
        frame.bgr[0, 0] = 0


def test_a_rectangle_beyond_the_frame_is_refused(tmp_path: Path) -> None:
    frame = first_frame(make_clip(tmp_path / "clip.mp4", at=clips.times(2)))

    with pytest.raises(ValueError, match="reach beyond 96x64"):
        frame.paste(90, 0, smooth(8, 8))


@pytest.mark.parametrize("size", [(97, 65), (2, 2), (1, 1), (3, 64)])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv411p", "yuv410p"])
def test_frames_of_any_size_can_be_pasted_into_up_to_the_edge(size: tuple[int, int], pix_fmt: str) -> None:
    width, height = size
    picture = av.VideoFrame(width, height, pix_fmt)
    picture.colorspace, picture.color_range = 1, LIMITED
    for plane in colour.planes(picture):
        plane[...] = 60
    frame = Frame(picture, index=0, time=Fraction(0), duration=Fraction(0))
    pixels = np.full((height, width, 3), (40, 120, 200), np.uint8)

    frame.paste(0, 0, pixels)

    again = Frame(frame.picture, index=0, time=Fraction(0), duration=Fraction(0))
    assert np.abs(again.bgr.astype(int) - pixels).max() <= 2
