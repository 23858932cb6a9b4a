"""Depth, chroma, colours, HDR and odd sizes are kept, or the user is told what is not."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facefusion_runner.media.probe import MediaInfo, probe
from facefusion_runner.media.reader import VideoReader
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import BT709, HLG, PQ, make_clip

X265 = {"preset": "ultrafast", "x265-params": "log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"}


def deep(path: Path, colours: tuple[int, int, int, int]) -> Path:
    return make_clip(path, codec="libx265", pix_fmt="yuv420p10le", colour=colours, options=X265)


@pytest.mark.parametrize(("colours", "hdr"), [(PQ, "pq"), (HLG, "hlg")], ids=["pq", "hlg"])
@pytest.mark.parametrize(
    ("encoder", "name"), [("hevc", "out.mp4"), ("h264", "out.mkv"), ("av1", "out.webm"), ("hevc", "out.mov")]
)
def test_hdr_keeps_its_ten_bits_and_its_colours(
    tmp_path: Path, rewrite: Rewrite, colours: tuple[int, int, int, int], hdr: str, encoder: str, name: str
) -> None:
    clip = deep(tmp_path / "in.mp4", colours)

    result = rewrite(clip, name, encoder=encoder)

    assert result.source.hdr == result.info.hdr == hdr
    assert result.info.pix_fmt == "yuv420p10le" and result.info.bit_depth == 10
    colour = result.info.colour
    assert (colour.primaries, colour.transfer, colour.matrix, colour.range) == colours
    assert result.warnings == []
    assert clips.numbers(result.path) == list(range(12))


@pytest.mark.parametrize(("encoder", "name"), [("hevc", "o.mp4"), ("h264", "o.mp4"), ("av1", "o.mkv")])
def test_the_mastering_display_and_light_level_are_kept(
    tmp_path: Path, rewrite: Rewrite, encoder: str, name: str
) -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    options = {**X265, "x265-params": f"log-level=none:master-display={master}:max-cll=1000,400"}
    clip = make_clip(tmp_path / "in.mp4", codec="libx265", pix_fmt="yuv420p10le", colour=PQ, options=options)
    wanted = [Fraction(n, 50000) for n in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)]
    wanted += [Fraction(50, 10000), Fraction(1000)]

    result = rewrite(clip, name, encoder=encoder)

    for info in (result.source, result.info):
        assert info.hdr_metadata.light == (1000, 400)
        assert info.hdr_metadata.mastering is not None
        assert [float(v) for v in info.hdr_metadata.mastering] == pytest.approx(
            [float(v) for v in wanted], abs=1e-3
        )


def test_ten_bits_become_eight_in_vp9_and_the_user_is_told(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = deep(tmp_path / "in.mp4", PQ)

    result = rewrite(clip, "out.webm")

    assert result.info.bit_depth == 8 and result.info.hdr == "pq"
    assert [w for w in result.warnings if "10 bits become 8" in w]
    assert clips.numbers(result.path) == list(range(12))


@pytest.mark.parametrize("encoder", ["h264", "hevc"])
@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuv422p10le", "yuv444p10le", "yuvj420p"])
def test_chroma_and_range_are_kept(tmp_path: Path, rewrite: Rewrite, pix_fmt: str, encoder: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", pix_fmt=pix_fmt, colour=(*BT709[:3], 2 if "j" in pix_fmt else 1))

    result = rewrite(clip, encoder=encoder)

    assert result.info.pix_fmt == pix_fmt
    assert result.info.colour == result.source.colour
    assert result.warnings == []


def test_chroma_that_the_encoder_does_not_take_is_halved_with_a_warning(
    tmp_path: Path, rewrite: Rewrite
) -> None:
    clip = make_clip(tmp_path / "in.mp4", pix_fmt="yuv444p")

    result = rewrite(clip, encoder="av1")

    assert result.info.pix_fmt == "yuv420p"
    assert result.warnings == ["av1 encodes yuv420p here: chroma loses resolution"]


def luma(path: Path) -> list[np.ndarray[Any, Any]]:
    with VideoReader(path, probe(path)) as reader:
        return [frame.bgr.mean((0, 1)) for frame in reader]


@pytest.mark.parametrize(
    ("pix_fmt", "colours"),
    [("yuvj420p", (1, 1, 1, 2)), ("yuv444p", BT709), ("yuv420p", (5, 6, 5, 1)), ("yuv420p", (2, 2, 2, 0))],
)
@pytest.mark.parametrize("encoder", ["h264", "hevc", "av1", "vp9"])
def test_colours_look_the_same_whatever_the_encoder(
    tmp_path: Path, rewrite: Rewrite, pix_fmt: str, colours: tuple[int, int, int, int], encoder: str
) -> None:
    clip = make_clip(tmp_path / "in.mp4", pix_fmt=pix_fmt, colour=colours, at=clips.times(4))

    result = rewrite(clip, "out.mkv", encoder=encoder, quality=90)

    assert np.abs(np.array(luma(result.path)) - np.array(luma(clip))).max() < 1.5


@pytest.mark.parametrize("size", [(97, 65), (97, 64), (96, 65), (67, 33)])
@pytest.mark.parametrize(
    ("encoder", "pix_fmt"), [("h264", "yuv444p"), ("hevc", "yuv444p"), ("av1", "yuv420p"), ("vp9", "yuv420p")]
)
def test_odd_sizes_are_kept_to_the_pixel(
    tmp_path: Path, rewrite: Rewrite, size: tuple[int, int], encoder: str, pix_fmt: str
) -> None:
    clip = make_clip(tmp_path / "in.mkv", codec="libvpx-vp9", size=size, options=VP9, at=clips.times(4))
    assert probe(clip).pix_fmt == "yuv420p"

    result = rewrite(clip, "out.mkv", encoder=encoder)

    assert (result.info.width, result.info.height) == size
    assert result.info.pix_fmt == pix_fmt
    assert bool([w for w in result.warnings if "odd size" in w]) == (pix_fmt == "yuv444p")


def test_interlaced_frames_are_kept_and_the_user_is_told(tmp_path: Path, rewrite: Rewrite) -> None:
    options = {"preset": "ultrafast", "crf": "10", "x264-params": "interlaced=1"}
    clip = make_clip(tmp_path / "in.mp4", options=options)

    result = rewrite(clip)

    assert result.source.interlaced
    assert clips.numbers(result.path) == list(range(12))
    assert len(result.warnings) == 1 and "interlaced" in result.warnings[0]


def test_a_frame_nobody_looked_at_goes_to_the_encoder_as_it_was_decoded(tmp_path: Path) -> None:
    clip = deep(tmp_path / "in.mp4", PQ)
    with VideoReader(clip, probe(clip)) as reader:
        for frame, plain in zip(reader, decode(clip), strict=True):
            assert frame.picture.format.name == "yuv420p10le"
            for ours, theirs in zip(frame.picture.planes, plain.planes, strict=True):
                assert bytes(ours) == bytes(theirs)


def decode(path: Path) -> list[Any]:
    import av

    with av.open(str(path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize(
    ("name", "pix_fmt", "depth"),
    [
        ("codec_h264_10bits.mp4", "yuv420p10le", 10),
        ("codec_h265_10bits.mp4", "yuv420p10le", 10),
        ("codec_bt709_full_range.mp4", "yuvj420p", 8),
    ],
)
def test_real_clips_keep_depth_and_range(
    shared: Path, rewrite: Rewrite, name: str, pix_fmt: str, depth: int
) -> None:
    result = rewrite(shared / "media" / name)

    info: MediaInfo = result.info
    assert (info.pix_fmt, info.bit_depth) == (pix_fmt, depth)
    assert result.warnings == []
