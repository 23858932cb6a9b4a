"""Phone videos come out upright, with the size and the pixel shape a player shows them in."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import make_clip


def shown(path: Path) -> NDArray[np.uint8]:
    """The first frame as FFmpeg decodes it, the display matrix not applied."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert frame.rotation == 0
        return frame.to_ndarray(format="bgr24")


def stored(rotation: int, flip: bool) -> clips.Callable[[int, int, int], clips.Bgr]:
    """Draws a picture so that a player which turns and mirrors it shows `clips.draw`'s."""

    def picture(index: int, width: int, height: int) -> clips.Bgr:
        upright = clips.draw(index, *((height, width) if rotation in (90, 270) else (width, height)))
        if flip:
            upright = upright[:, ::-1]
        return np.ascontiguousarray(np.rot90(upright, rotation // 90))

    return picture


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_video_comes_out_upright(
    tmp_path: Path, rewrite: Rewrite, rotation: int, container: str
) -> None:
    clip = make_clip(tmp_path / f"in.{container}", rotation=rotation, picture=stored(rotation, False))

    result = rewrite(clip, f"out.{container}")

    size = (96, 64) if rotation == 180 else (64, 96)
    assert (result.source.width, result.source.height) == size
    assert (result.info.width, result.info.height) == size
    assert result.source.rotation == rotation
    assert result.info.rotation == 0
    difference = shown(result.path).astype(int) - clips.draw(0, *size)
    assert np.abs(difference).mean() < 4
    assert clips.numbers(result.path) == list(range(12))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_mirrored_video_comes_out_as_a_player_shows_it(
    tmp_path: Path, rewrite: Rewrite, rotation: int
) -> None:
    clip = make_clip(tmp_path / "in.mp4", rotation=rotation, flip=True, picture=stored(rotation, True))

    result = rewrite(clip)

    size = (96, 64) if rotation in (0, 180) else (64, 96)
    assert np.abs(shown(result.path).astype(int) - clips.draw(0, *size)).mean() < 4


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv422p10le", "yuv444p", "yuv420p10le"])
def test_every_chroma_format_can_be_turned_by_90_degrees(
    tmp_path: Path, rewrite: Rewrite, pix_fmt: str
) -> None:
    clip = make_clip(tmp_path / "in.mp4", pix_fmt=pix_fmt, rotation=90, picture=stored(90, False))

    result = rewrite(clip)

    # Chroma shared by neighbours in a row would be shared by neighbours in a column: 4:4:4 keeps all of it.
    assert result.info.pix_fmt == pix_fmt.replace("422", "444")
    assert np.abs(shown(result.path).astype(int) - clips.draw(0, 64, 96)).mean() < 4


def test_an_odd_size_is_turned(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "in.mkv", codec="libvpx-vp9", size=(97, 65), rotation=90, picture=stored(90, False),
        options={"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"},
    )  # fmt: skip

    with VideoReader(clip, probe(clip)) as reader:
        frame = next(iter(reader))

    assert (frame.width, frame.height) == (65, 97)
    assert np.abs(frame.bgr.astype(int) - clips.draw(0, 65, 97)).mean() < 5


def test_the_pixel_aspect_is_kept_and_turned_with_the_picture(tmp_path: Path, rewrite: Rewrite) -> None:
    wide = Fraction(64, 45)
    flat = make_clip(tmp_path / "flat.mp4", pixel_aspect=wide)
    turned = make_clip(tmp_path / "turned.mp4", pixel_aspect=wide, rotation=90)

    assert probe(flat).pixel_aspect == rewrite(flat, "a.mp4").info.pixel_aspect == wide
    assert rewrite(flat, "a.mkv").info.pixel_aspect == wide
    assert probe(turned).pixel_aspect == rewrite(turned, "b.mp4").info.pixel_aspect == 1 / wide
    with VideoReader(turned, probe(turned)) as reader:
        assert next(iter(reader)).pixel_aspect == pytest.approx(float(1 / wide))


@pytest.mark.parametrize(("name", "encoder"), [("a.webm", "vp9"), ("a.mkv", "av1")])
def test_a_pixel_aspect_that_cannot_be_written_is_taken_out_of_the_picture(
    tmp_path: Path, rewrite: Rewrite, name: str, encoder: str
) -> None:
    clip = make_clip(tmp_path / "in.mp4", pixel_aspect=Fraction(3, 2))

    result = rewrite(clip, name, encoder=encoder)

    assert (result.info.width, result.info.height) == (144, 64)
    assert result.info.pixel_aspect == 1
    assert [w for w in result.warnings if "square pixels" in w]
    assert np.abs(shown(result.path).astype(int)[:50] - clips.draw(0, 144, 64)[:50]).mean() < 5


def test_real_phone_clips_stand_as_the_unturned_one(shared: Path, rewrite: Rewrite) -> None:
    """The same scene was filmed in four positions of the phone."""
    for rotation, size in ((0, (568, 320)), (90, (320, 568)), (180, (568, 320)), (270, (320, 568))):
        result = rewrite(shared / "media" / f"rotation_{rotation}.mov", f"{rotation}.mp4")
        assert (result.info.width, result.info.height) == size
        assert result.source.rotation == rotation and result.info.rotation == 0
