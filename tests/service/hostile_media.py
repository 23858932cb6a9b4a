"""Files that nobody sends in good faith: cut off, swollen, disguised, or pointing elsewhere."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import wave
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, PngImagePlugin

from tests.support.clips import box, make_clip, times


@dataclass(frozen=True)
class Hostile:
    name: str
    data: bytes
    decodable: bool = False
    """It may be taken for what it also is: a picture or film whose beginning is good."""
    still: bool = False
    """One frame of it may be looked at."""


def all_of(folder: Path, picture: bytes, film: bytes, url: str, canary: Path) -> list[Hostile]:
    """`picture` is a JPEG and `film` an MP4 that are good; `url` and `canary` are what must not be opened."""
    return [
        *_truncated(folder, picture, film),
        *_damaged(picture, film),
        *_bombs(folder, picture, film),
        *_narrow(),
        *_polyglots(picture, film),
        *_references(film, url, canary),
        *_other_kinds(folder),
    ]


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _truncated(folder: Path, picture: bytes, film: bytes) -> Iterator[Hostile]:
    image = Image.open(io.BytesIO(picture))
    files = {
        "jpeg": picture,
        "progressive": _encoded(image, "JPEG", progressive=True),
        "png": _encoded(image, "PNG"),
        "webp": _encoded(image, "WEBP"),
        "mp4": film,
        "faststart": make_clip(folder / "f.mp4", container_options={"movflags": "faststart"}).read_bytes(),
        "fragmented": make_clip(
            folder / "g.mp4", container_options={"movflags": "frag_keyframe+empty_moov"}
        ).read_bytes(),
        "mkv": make_clip(folder / "f.mkv").read_bytes(),
        "webm": make_clip(
            folder / "f.webm", codec="libvpx-vp9", options={"deadline": "realtime"}
        ).read_bytes(),
        "gif": make_clip(folder / "f.gif", codec="gif", pix_fmt="rgb8").read_bytes(),
    }
    for name, data in files.items():
        points = [1, 2, 3, 4, 8, 12, 16, 24, 32, 64, *(len(data) * part // 12 for part in range(1, 12))]
        for point in sorted({*points, len(data) - 1}):
            yield Hostile(f"{name} cut at {point}", data[:point], decodable=True)


def _damaged(picture: bytes, film: bytes) -> Iterator[Hostile]:
    """Bytes changed at random; what decoders crash on."""
    chance = random.Random(1)
    for kind, data in (("jpeg", picture), ("mp4", film)):
        for number in range(20):
            changed = bytearray(data)
            for _ in range(2 ** (number % 8)):
                # Headers are worth more than pixels.
                place = chance.randrange(len(data) if chance.random() < 0.5 else min(len(data), 600))
                changed[place] = chance.randrange(256)
            yield Hostile(f"{kind} damaged {number}", bytes(changed), decodable=True)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks)


def _bombs(folder: Path, picture: bytes, film: bytes) -> Iterator[Hostile]:
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    for width, height in ((100_000, 100_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (8000, 8000)):
        yield Hostile(f"png {width}x{height}", png_header(width, height, pixels))
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x4c\x01\x00;"
    yield Hostile("gif 65535x65535", gif + frame)
    webp = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" * 2
    yield Hostile("webp 16777216x16777216", b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp)
    start = next(at for at in range(len(picture)) if picture[at : at + 2] in (b"\xff\xc0", b"\xff\xc2"))
    huge = picture[: start + 5] + b"\xff\xff\xff\xff" + picture[start + 9 :]
    yield Hostile("jpeg 65535x65535", huge)
    motion = make_clip(folder / "motion.mkv", codec="mjpeg", pix_fmt="yuvj420p").read_bytes()
    at = motion.index(b"\xff\xc0")
    yield Hostile("mjpeg 65535x65535", motion[: at + 5] + b"\xff\xff\xff\xff" + motion[at + 9 :], True)
    entry = film.index(b"avc1", film.index(b"stsd"))
    swollen = film[: entry + 28] + b"\xff\xff\xff\xff" + film[entry + 32 :]
    yield Hostile("mp4 65535x65535 beside its codec", swollen, True)
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "A" * 80_000_000, zip=True)
    yield Hostile("png with much text", _encoded(Image.new("RGB", (9, 9)), "PNG", pnginfo=text), True)
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(200_000_000), 9))
    yield Hostile("png with a large profile", png_header(9, 9, profile, pixels), True)
    media_header = film.index(b"mdhd")
    # Without the edit list, which says how much of it is shown.
    long = bytearray(film.replace(b"edts", b"free"))
    struct.pack_into(">II", long, media_header + 16, 1, 2**31)
    yield Hostile("mp4 of 68 years", bytes(long), still=True)
    matroska = make_clip(folder / "long.mkv").read_bytes()
    # Duration, an 8-byte float (RFC 9559, 5.1.2.10).
    place = matroska.index(b"\x44\x89\x88")
    years = matroska[: place + 3] + struct.pack(">d", 1e15) + matroska[place + 11 :]
    yield Hostile("mkv of 31 000 years", years, still=True)
    late = make_clip(folder / "late.mkv", at=[Fraction(0), Fraction(100_000)]).read_bytes()
    yield Hostile("mkv of two frames a day apart", late, still=True)


def _narrow() -> Iterator[Hostile]:
    for size in ((1, 1), (1, 5000), (5000, 1), (2, 16384), (16384, 3), (3, 3)):
        for kind in ("PNG", "JPEG", "WEBP") if max(size) < 16384 else ("PNG", "JPEG"):
            data = _encoded(Image.new("RGB", size, (200, 150, 120)), kind)
            yield Hostile(f"{kind} {size[0]}x{size[1]}", data, decodable=True)
    for mode in ("1", "L", "LA", "P", "I;16", "CMYK"):
        kind = "JPEG" if mode == "CMYK" else "PNG"
        yield Hostile(f"{kind} {mode}", _encoded(Image.new(mode, (40, 40)), kind), decodable=True)
    frames = [Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (0, 100, 200)]
    for kind in ("PNG", "WEBP"):
        data = _encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        yield Hostile(f"animated {kind}", data)


PAYLOAD = b"<script>payload()</script>"


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("payload.html", PAYLOAD)
    return buffer.getvalue()


def _polyglots(picture: bytes, film: bytes) -> Iterator[Hostile]:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(PAYLOAD)) + PAYLOAD
    for name, data in {
        "jpeg and zip": picture + _zip(),
        "jpeg and html": picture[:2] + comment + picture[2:],
        "jpeg and mp4": picture + film,
        "mp4 and zip": film + _zip(),
        "mp4 and html": film + box(b"free", PAYLOAD),
        "jpeg and php": picture + b"<?php system($_GET[0]); ?>",
    }.items():
        yield Hostile(name, data, decodable=True)
    yield Hostile("zip and jpeg", _zip() + picture)
    yield Hostile("html and jpeg", b"<html>" + PAYLOAD + picture)
    yield Hostile("gif and javascript", b"GIF89a=1;" + PAYLOAD)
    yield Hostile("pdf and jpeg", b"%PDF-1.4\n" + picture)


def _references(film: bytes, url: str, canary: Path) -> Iterator[Hostile]:
    """Formats that name other files or addresses, some behind the beginning of a format that is read."""
    places = {"address": url + "/a.mp4", "file": f"file://{canary}", "path": str(canary), "name": canary.name}
    forms: dict[str, Callable[[str], str]] = {
        "m3u8": lambda at: f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{at}\n#EXT-X-ENDLIST\n",
        "m3u8 with a key": lambda at: (
            f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{at}"\n#EXTINF:9,\n{at}\n#EXT-X-ENDLIST\n'
        ),
        "m3u8 with a map": lambda at: f'#EXTM3U\n#EXT-X-MAP:URI="{at}"\n#EXTINF:9,\n{at}\n',
        "ffconcat": lambda at: f"ffconcat version 1.0\nfile '{at}'\n",
        "concat": lambda at: f"file '{at}'\n",
        "xspf": lambda at: (
            f"<playlist version='1'><trackList><track><location>{at}</location></track></trackList>"
            "</playlist>"
        ),
        "asx": lambda at: f"<asx version='3.0'><entry><ref href='{at}'/></entry></asx>",
        "pls": lambda at: f"[playlist]\nFile1={at}\nNumberOfEntries=1\n",
        "sdp": lambda at: (
            f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns={at}\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n"
        ),
        "dash": lambda at: f"<?xml version='1.0'?><MPD><Period><BaseURL>{at}</BaseURL></Period></MPD>",
        "smil": lambda at: f"<smil><body><video src='{at}'/></body></smil>",
        "svg": lambda at: f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{at}'/></svg>",
        "xml entity": lambda at: f"<!DOCTYPE x [<!ENTITY e SYSTEM '{at}'>]><svg>&e;</svg>",
        "mvg": lambda at: f"push graphic-context\nimage over 0,0 0,0 '{at}'\npop graphic-context\n",
        "rtsp": lambda at: f"RTSPtext\nrtsp://{at}\n",
        "reference movie": lambda at: f"[Reference]\nRef1={at}\n",
        "av synth": lambda at: f'AVISource("{at}")\n',
        "xbin": lambda at: f"XBIN\x1a\x50\x00\x19\x00\x10\x00{at}",
        "postscript": lambda at: f"%!PS\n({at}) run\n",
        "edit list": lambda at: f"# mpv EDL v0\n{at}\n",
    }
    for form, write in forms.items():
        for place, at in places.items():
            yield Hostile(f"{form} of a {place}", write(at).encode())
    for place, at in places.items():
        text = forms["m3u8"](at).encode()
        yield Hostile(f"mp4 that is m3u8 of a {place}", box(b"ftyp", b"isom\0\0\2\0isom") + text)
        yield Hostile(
            f"mp4 with m3u8 of a {place} as its data", box(b"ftyp", b"isom\0\0\2\0isom") + box(b"mdat", text)
        )
        reference = box(b"url ", bytes(4) + at.encode() + b"\0")
        yield Hostile(
            f"mp4 whose frames are at a {place}", with_data_reference(film, reference), decodable=True
        )
        volume = (
            bytes(150) + struct.pack(">hH", 2, len(at)) + at.encode() + bytes(len(at) % 2) + b"\xff\xff\0\0"
        )
        alias = box(b"alis", bytes(4) + volume)
        yield Hostile(f"mov whose alias is a {place}", with_data_reference(film, alias), decodable=True)
        movie = box(
            b"rmra", box(b"rmda", box(b"rdrf", bytes(4) + b"url " + struct.pack(">I", len(at)) + at.encode()))
        )
        yield Hostile(
            f"mov that refers to a {place}", box(b"ftyp", b"qt  \0\0\2\0qt  ") + box(b"moov", movie)
        )


_NESTED = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def with_data_reference(film: bytes, reference: bytes) -> bytes:
    """The film with its frames said to be elsewhere; its `moov` comes last, so that no offset changes."""
    rebuilt = b""
    while film:
        size, kind = struct.unpack(">I4s", film[:8])
        content, film = film[8:size], film[size:]
        if kind in _NESTED:
            content = with_data_reference(content, reference)
        elif kind == b"dref":
            content = bytes(4) + struct.pack(">I", 1) + reference
        rebuilt += box(kind, content)
    return rebuilt


def _other_kinds(folder: Path) -> Iterator[Hostile]:
    image = Image.new("RGB", (64, 64), (180, 140, 120))
    for kind in ("BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "EPS", "PDF", "DDS", "SGI"):
        yield Hostile(kind, _encoded(image, kind))
    sound = io.BytesIO()
    with wave.open(sound, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(8000)
        writer.writeframes(bytes(16000))
    yield Hostile("wav", sound.getvalue())
    yield Hostile("y4m", b"YUV4MPEG2 W16 H16 F25:1\nFRAME\n" + bytes(384))
    for ending, codec in (("avi", "mpeg4"), ("ts", "mpeg4"), ("flv", "flv"), ("nut", "ffv1")):
        film = make_clip(folder / f"other.{ending}", codec=codec, at=times(5))
        yield Hostile(ending, film.read_bytes())
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), "fltp", "mono")
        frame.sample_rate = 48000
        stream.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    yield Hostile("mp4 with sound alone", (folder / "sound.mp4").read_bytes())
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("x"), io.BytesIO())
    chance = random.Random(2)
    for name, data in {
        "nothing": b"",
        "one byte": b"\xff",
        "text": b"hello\n" * 1000,
        "zeros": bytes(1_000_000),
        "noise": chance.randbytes(1_000_000),
        "zip": _zip(),
        "gzip bomb": gzip.compress(bytes(100_000_000)),
        "tar": archive.getvalue(),
        "elf": b"\x7fELF\x02\x01\x01" + bytes(200),
        "html": b"<!doctype html>" + PAYLOAD,
        "mp3": b"ID3\x04\0\0\0\0\0\0" + b"\xff\xfb\x90\0" * 200,
        "ogg": b"OggS\0\2" + bytes(60),
        "avif": box(b"ftyp", b"avif\0\0\0\0avifmif1") + bytes(100),
        "heic": box(b"ftyp", b"heic\0\0\0\0heicmif1") + bytes(100),
        "jpeg xl": b"\xff\x0a" + bytes(100),
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
        "photoshop": b"8BPS\0\1" + bytes(40),
        "ftyp alone": box(b"ftyp", b"isom\0\0\2\0isom"),
        "moov of itself": box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", box(b"moov", box(b"moov", b""))),
        "deep boxes": _nested(b"moov", 3000),
        "negative box": box(b"ftyp", b"isom\0\0\2\0isom") + struct.pack(">I4s", 3, b"moov"),
        "endless box": box(b"ftyp", b"isom\0\0\2\0isom") + struct.pack(">I4sQ", 1, b"mdat", 2**63),
        "ebml alone": b"\x1a\x45\xdf\xa3\x80",
        "endless ebml": b"\x1a\x45\xdf\xa3\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(100),
    }.items():
        yield Hostile(name, data)


def _nested(kind: bytes, depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(kind, data)
    return box(b"ftyp", b"isom\0\0\2\0isom") + data
