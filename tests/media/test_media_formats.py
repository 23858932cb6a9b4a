"""What is read and written, and what is refused with one line."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from facefusion_runner.errors import InputError, RunnerError
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import Sound, box, make_clip

INPUTS: dict[str, dict[str, Any]] = {
    "in.mp4": {"sounds": [Sound(1)]},
    "in.mkv": {"sounds": [Sound(1)]},
    "in.mov": {"sounds": [Sound(1)]},
    "in.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}, "sounds": [Sound(1, "libopus")]},
    "in.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
}


@pytest.mark.parametrize("source", INPUTS)
@pytest.mark.parametrize(
    ("output", "codec"), [("out.mp4", "h264"), ("out.mkv", "h264"), ("out.mov", "h264"), ("out.webm", "vp9")]
)
def test_every_kind_of_film_becomes_every_other(
    tmp_path: Path, rewrite: Rewrite, source: str, output: str, codec: str
) -> None:
    at = [Fraction(8 * index, 100) for index in range(10)]
    clip = make_clip(tmp_path / source, at=at, **INPUTS[source])

    result = rewrite(clip, output)

    assert result.info.codec == codec
    assert clips.frame_times(result.path) == at
    assert clips.numbers(result.path) == list(range(10))


@pytest.mark.parametrize("name", ["clip", "clip.jpg", "clip.txt", "clip.webm"])
def test_a_film_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / "in.mp4").rename(tmp_path / name)

    assert probe(clip).container == "mp4"


@pytest.mark.parametrize(
    "name",
    ["Übergröße Γειά 映画 🎬.mp4", "two  spaces .mp4", "-dash.mp4", "a:b.mp4", "http:x.mp4", "100%d.mp4",
     "new\nline.mp4", "quote'\".mp4", "concat:a|b.mp4"],
)  # fmt: skip
def test_names_of_any_kind_work(
    tmp_path: Path, rewrite: Rewrite, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    make_clip(tmp_path / "plain.mp4", sounds=[Sound(1)]).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)

    result = rewrite(Path(name), f"out {name}")

    assert clips.numbers(result.path) == list(range(12))
    assert len(result.info.audio) == 1


def test_a_name_that_is_no_text_works(tmp_path: Path, rewrite: Rewrite) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    make_clip(tmp_path / "plain.mp4").rename(tmp_path / name)

    assert rewrite(tmp_path / name, os.fsdecode(b"th\xe9.mkv")).info.width == 96


def test_two_films_of_the_same_name_do_not_meet(tmp_path: Path) -> None:
    readers = []
    for folder, first in (("a", 0), ("b", 20)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "clip.mp4"
        make_clip(path, picture=lambda i, w, h, first=first: clips.draw(first + i, w, h))
        readers.append(VideoReader(path, probe(path)))
    with readers[0] as one, readers[1] as other:
        seen = [(clips.number_of(a.bgr), clips.number_of(b.bgr)) for a, b in zip(one, other, strict=True)]
    assert seen == [(i, 20 + i) for i in range(12)]


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        probe(path)
    message = str(caught.value)
    assert "\n" not in message.replace(str(path), "")
    return message


def test_what_is_no_media_file_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a film\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)

    assert "is no video or picture" in refused(text)
    assert "is empty" in refused(empty)
    assert "is a directory" in refused(tmp_path)
    assert "no regular file" in refused(pipe)
    assert "No such file" in refused(tmp_path / "missing.mp4")
    assert "no usable name" in refused(Path("nul\0.mp4"))


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        stream.layout = "mono"
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    assert "holds no video" in refused(path)


def test_a_cover_picture_is_no_film(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with (
        av.open(
            str(make_clip(tmp_path / "in.mkv", codec="mjpeg", pix_fmt="yuvj420p", at=clips.times(1)))
        ) as source,
        av.open(str(path), "w") as target,
    ):
        cover = target.add_stream_from_template(source.streams.video[0], opaque=True)
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = cover
                target.mux(packet)

    assert "holds no video" in refused(path)


PLAYLISTS = {
    "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{clip}\n#EXT-X-ENDLIST\n",
    "list.ffconcat": "ffconcat version 1.0\nfile '{clip}'\n",
    "remote.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "session.sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "manifest.mpd": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    "ssa.xml": "<imf><AssetMap>{clip}</AssetMap></imf>",
}


@pytest.mark.parametrize("name", PLAYLISTS)
@pytest.mark.parametrize("ending", ["", ".mp4"])
def test_a_playlist_that_would_open_other_files_is_refused(tmp_path: Path, name: str, ending: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    path = tmp_path / (name + ending)
    path.write_text(PLAYLISTS[name].format(clip=clip))

    refused(path)


def test_a_film_that_refers_to_another_file_does_not_open_it(tmp_path: Path) -> None:
    """QuickTime's data references: the samples lie in a file that the `alis` or `url ` box names."""
    clip = make_clip(tmp_path / "clip.mov")
    data = clip.read_bytes()
    start = data.index(b"dref") - 4
    size = int.from_bytes(data[start : start + 4])
    entry = box(b"url ", bytes(4) + f"file://{clip}".encode() + b"\0")
    reference = box(b"dref", bytes(4) + (1).to_bytes(4) + entry)
    outside = tmp_path / "outside.mov"
    moved = bytearray(data[:start] + reference + data[start + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"dinf"):
        at = moved.index(name) - 4
        grown = int.from_bytes(moved[at : at + 4]) + len(reference) - size
        moved[at : at + 4] = grown.to_bytes(4)
    media = moved.index(b"mdat")
    moved[media + 4 : media + 4000] = bytes(len(moved[media + 4 : media + 4000]))
    outside.write_bytes(moved)

    with pytest.raises(RunnerError, match=r"decoded|no video"):
        probe(outside)


def test_a_gigantic_frame_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", codec="libvpx-vp9", options={"cpu-used": "8"})
    data = bytearray(clip.read_bytes())
    # Matroska's PixelWidth (0xB0) and PixelHeight (0xBA), one byte each here.
    place = data.index(b"\xb0\x81\x60")
    assert data[place + 3 : place + 6] == b"\xba\x81\x40"
    data[place : place + 6] = b"\xb0\x84\x00\x0f\xff\xff"
    clip.write_bytes(data)
    with pytest.raises(RunnerError, match=str(clip)):
        probe(clip)


def test_a_gif_is_laid_on_white_where_it_is_transparent(tmp_path: Path, rewrite: Rewrite) -> None:
    from PIL import Image

    path = tmp_path / "in.gif"
    pictures = []
    for index in range(4):
        picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
        picture.paste((200, 30, 30, 255), (8 + index, 8, 40, 40))
        pictures.append(picture)
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, disposal=2, loop=0)
    looks: list[np.ndarray[Any, Any]] = []

    result = rewrite(path, look=lambda frame: looks.append(frame.bgr.copy()))

    assert len(looks) == 4
    assert (looks[0][2, 2] == 255).all()
    assert looks[0][20, 20].tolist() == [30, 30, 200]
    assert [w for w in result.warnings if "white" in w]
    with VideoReader(result.path, result.info) as reader:
        seen = next(iter(reader)).bgr
    assert np.abs(seen[20, 20].astype(int) - (30, 30, 200)).max() <= 4
    assert seen[2, 2].min() >= 251


def test_an_endless_gif_is_played_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.gif", **INPUTS["in.gif"], container_options={"loop": "0"})

    with VideoReader(clip, probe(clip)) as reader:
        assert len(list(reader)) == 12


@pytest.mark.parametrize(
    "name",
    [
        "henry8_5fps.mp4",
        "codec_av1_video.mkv",
        "no_duration_vp9_opus.webm",
        "noface_vp8_vorbis.webm",
        "intel_head-pose-face-detection-female.gif",
    ],
)
def test_real_clips_come_out_with_all_frames_and_times(shared: Path, rewrite: Rewrite, name: str) -> None:
    clip = shared / "media" / name

    result = rewrite(clip, trim_end=Fraction(2))

    wanted = [time for time in clips.frame_times(clip) if time < 2 + result.source.start]
    assert clips.frame_times(result.path) == wanted
    assert result.warnings == []
