"""An output says what it is: a picture or a film in which a machine replaced faces."""

from __future__ import annotations

import struct
from pathlib import Path
from xml.etree import ElementTree

import av
import pytest
from PIL import Image

from facefusion_runner.media.pictures import read_picture, write_picture
from facefusion_runner.media.provenance import NOTICE, SOURCE_TYPE, TAG, XMP_BOX
from tests.media.conftest import Rewrite
from tests.support import clips

IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def source_type(packet: bytes | str) -> str | None:
    """What an XMP packet says."""
    text = packet.decode() if isinstance(packet, bytes) else packet
    description = ElementTree.fromstring(text).find(".//{*}Description")
    assert description is not None
    return description.get(f"{IPTC}DigitalSourceType")


def boxes(path: Path) -> list[tuple[bytes, bytes]]:
    """Type and content of an MP4 file's top-level boxes."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert size >= 8
        found.append((kind, data[at + 8 : at + size]))
        at += size
    return found


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_carries_the_digital_source_type_in_xmp(tmp_path: Path, name: str) -> None:
    picture = clips.draw(5, 96, 64)
    write_picture(tmp_path / name, picture, 100, provenance=True)
    with Image.open(tmp_path / name) as image:
        image.load()
        packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"]
    assert source_type(packet) == SOURCE_TYPE
    write_picture(tmp_path / f"plain_{name}", picture, 100)
    assert (read_picture(tmp_path / name) == read_picture(tmp_path / f"plain_{name}")).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp"])
def test_a_picture_says_nothing_of_itself_unless_asked(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / name, clips.draw(5, 96, 64))
    assert b"digitalsourcetype" not in (tmp_path / name).read_bytes()


def test_an_mp4_holds_xmp_in_the_box_that_is_meant_for_it(tmp_path: Path, rewrite: Rewrite) -> None:
    made = rewrite(clips.make_clip(tmp_path / "in.mp4", sounds=[clips.Sound(1.0)]), "a.mp4", provenance=True)
    kinds = [kind for kind, _ in boxes(made.path)]
    assert kinds.index(b"moov") < kinds.index(b"mdat") and kinds[-1] == b"uuid"
    content = boxes(made.path)[-1][1]
    assert content[:16] == XMP_BOX.bytes
    assert source_type(content[16:]) == SOURCE_TYPE
    assert (made.info.frames, len(made.info.audio)) == (12, 1)


def test_a_mov_holds_xmp_among_its_user_data(tmp_path: Path, rewrite: Rewrite) -> None:
    made = rewrite(clips.make_clip(tmp_path / "in.mp4"), "a.mov", provenance=True)
    with av.open(str(made.path), options={"export_xmp": "1"}) as film:
        assert source_type(film.metadata["xmp"]) == SOURCE_TYPE


@pytest.mark.parametrize(("name", "encoder"), [("a.mkv", "h264"), ("a.webm", "vp9")])
def test_matroska_and_webm_have_a_tag(tmp_path: Path, rewrite: Rewrite, name: str, encoder: str) -> None:
    made = rewrite(clips.make_clip(tmp_path / "in.mp4"), name, encoder=encoder, provenance=True)
    with av.open(str(made.path)) as film:
        assert film.metadata[TAG] == SOURCE_TYPE


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_people_read_it_in_the_comment_before_what_the_film_said(
    tmp_path: Path, rewrite: Rewrite, name: str
) -> None:
    clip = clips.make_clip(tmp_path / "in.mp4", metadata={"comment": "A day at the sea", "title": "Sea"})
    made = rewrite(clip, name, provenance=True)
    again = rewrite(made.path, f"again_{name}", provenance=True)
    for path in (made.path, again.path):
        with av.open(str(path)) as film:
            told = {key.lower(): value for key, value in film.metadata.items()}
        assert (told["comment"], told["title"]) == (f"{NOTICE} A day at the sea", "Sea")


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
def test_a_film_says_nothing_of_itself_unless_asked(tmp_path: Path, rewrite: Rewrite, name: str) -> None:
    made = rewrite(clips.make_clip(tmp_path / "in.mp4"), name)
    assert b"digitalsourcetype" not in made.path.read_bytes()
