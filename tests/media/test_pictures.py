"""Still pictures come in upright 8-bit BGR, whatever they were, and go out complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from facefusion_runner.errors import InputError
from facefusion_runner.media.pictures import read_picture, write_picture
from facefusion_runner.media.probe import probe
from tests.support import clips

ORIENTATION = 0x0112


def drawn(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(clips.draw(5, width, height)[:, :, ::-1]))


def near(picture: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], most: float) -> bool:
    return picture.shape == wanted.shape and float(np.abs(picture.astype(int) - wanted).mean()) < most


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "jpeg"), ("a.png", "png"), ("a.webp", "webp")])
def test_pictures_are_read_as_they_look(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / name
    drawn().save(path, quality=95)

    info = probe(path)

    assert (info.kind, info.container, info.width, info.height) == ("picture", kind, 96, 64)
    assert not info.has_alpha and info.pixel_aspect == 1
    picture = read_picture(path)
    assert picture.dtype == np.uint8 and picture.flags.c_contiguous
    assert near(picture, clips.draw(5, 96, 64), 4)


@pytest.mark.parametrize("name", ["a.png", "a", "a.mp4", "a.JPG"])
def test_a_picture_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    drawn().save(path, "JPEG", quality=95)

    assert probe(path).container == "jpeg"
    assert near(read_picture(path), clips.draw(5, 96, 64), 4)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_stand_upright_by_their_exif_orientation(tmp_path: Path, orientation: int) -> None:
    upright = drawn()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    path = tmp_path / "photo.jpg"
    stored.save(path, quality=95, exif=exif)

    assert (probe(path).width, probe(path).height) == (96, 64)
    assert near(read_picture(path), clips.draw(5, 96, 64), 4)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "I;16", "RGBA", "LA", "PA"])
def test_every_kind_of_pixel_becomes_bgr(tmp_path: Path, mode: str) -> None:
    grey = drawn().convert("L")
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        Image.fromarray(np.asarray(grey, np.uint16) * 257).save(path)
    elif mode in ("P", "PA"):
        drawn().convert("RGB" if mode == "P" else "RGBA").quantize(128).save(path)
    else:
        drawn().convert(mode).save(path)

    picture = read_picture(path)

    assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
    colourful = mode in ("P", "CMYK", "RGBA", "PA")
    wanted = np.asarray(drawn() if colourful else grey.convert("RGB"))[:, :, ::-1]
    if mode == "1":
        wanted = np.asarray(drawn().convert("1").convert("RGB"))
    assert near(picture, wanted, 12 if mode in ("P", "PA") else 6)


def test_sixteen_bit_colour_keeps_its_brightness(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), clips.draw(5, 96, 64).astype(np.uint16) * 257)

    assert near(read_picture(path), clips.draw(5, 96, 64), 1)


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    path = tmp_path / "cutout.png"
    picture = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    picture.paste((10, 20, 200, 255), (0, 0, 10, 10))
    picture.paste((0, 0, 0, 128), (10, 0, 15, 10))
    picture.save(path)

    seen = read_picture(path)

    assert probe(path).has_alpha
    assert seen[5, 5].tolist() == [200, 20, 10]
    assert seen[5, 18].tolist() == [255, 255, 255]
    assert abs(int(seen[5, 12, 0]) - 127) <= 1


def test_a_wide_gamut_photo_is_brought_to_srgb(tmp_path: Path) -> None:
    """A profile with red and green swapped would show, had it been ignored."""
    plain, tagged = tmp_path / "plain.png", tmp_path / "tagged.png"
    drawn().save(plain)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    swapped = bytearray(profile)
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    drawn().save(tagged, icc_profile=bytes(swapped))

    assert near(read_picture(plain), clips.draw(5, 96, 64), 0.01)
    assert np.abs(read_picture(tagged).astype(int) - clips.draw(5, 96, 64)).mean() > 10


def test_a_damaged_colour_profile_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    drawn().save(path, icc_profile=b"nothing of the kind")

    assert near(read_picture(path), clips.draw(5, 96, 64), 0.01)


def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (12000, 12000)).save(path)

    with pytest.raises(InputError, match="million pixels"):
        probe(path)
    with pytest.raises(InputError, match="million pixels"):
        read_picture(path)


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_animated_picture_is_refused_as_a_target(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    drawn().save(path, save_all=True, append_images=[drawn().rotate(90)], duration=100)

    with pytest.raises(InputError, match="animated"):
        probe(path)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_cut_off_picture_is_refused_with_one_line(tmp_path: Path, name: str, part: float) -> None:
    path = tmp_path / name
    drawn().save(path, quality=95)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])

    with pytest.raises(InputError) as caught:
        read_picture(path)

    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "a.jpg"
    text.write_text("hello")
    svg = tmp_path / "a.svg"
    svg.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    for path in (text, svg, tmp_path, tmp_path / "missing.png", clips.make_clip(tmp_path / "film.mp4")):
        with pytest.raises(InputError, match=str(path)):
            read_picture(path)


@pytest.mark.parametrize(("name", "most"), [("a.jpg", 4), ("a.jpeg", 4), ("a.png", 0.01), ("a.webp", 4)])
def test_pictures_are_written_as_they_look(tmp_path: Path, name: str, most: float) -> None:
    path = tmp_path / name
    write_picture(path, clips.draw(5, 96, 64))

    assert near(read_picture(path), clips.draw(5, 96, 64), most)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_quality_is_heeded(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    for suffix in ("jpg", "webp"):
        sizes = []
        for quality in (20, 60, 98):
            path = tmp_path / f"{quality}.{suffix}"
            write_picture(path, noise, quality)
            sizes.append(path.stat().st_size)
        assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.jpg, \.jpeg, \.png, \.webp"):
        write_picture(tmp_path / "a.bmp", clips.draw(0, 96, 64))


def test_names_of_any_kind_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("Übergröße 映画 🎬.png", "-dash.png", "a:b.png", os.fsdecode(b"caf\xe9.png")):
        write_picture(Path(name), clips.draw(5, 96, 64))
        assert probe(Path(name)).kind == "picture"
        assert near(read_picture(Path(name)), clips.draw(5, 96, 64), 0.01)


def test_real_photos_in_every_position_show_the_same(shared: Path) -> None:
    photos = sorted((shared / "faces" / "test_images" / "exif").iterdir())
    sizes = {read_picture(path).shape for path in photos}
    assert len(photos) >= 8
    assert len(sizes) == 1


@pytest.mark.filterwarnings("error")
def test_damaged_exif_data_is_passed_over_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "exif.jpg"
    Image.new("RGB", (20, 10)).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\xff")

    assert (probe(path).width, probe(path).height) == (20, 10)
    assert read_picture(path).shape == (10, 20, 3)
