"""Sound, subtitles, chapters and metadata go through as they are, or the user is told which do not."""

from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import pytest

from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.tracks import TrackCopier
from facefusion_runner.media.writer import VideoWriter
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import Caption, Sound, make_clip


def payload(path: Path, index: int) -> list[bytes]:
    return [content for _, content in clips.packets(path, index)]


@pytest.mark.parametrize("seconds", [0.4, 1.2, 3.0])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_sound_shorter_or_longer_than_the_film_is_copied_to_the_bit(
    tmp_path: Path, rewrite: Rewrite, seconds: float, name: str
) -> None:
    at = clips.times(12, 10)
    clip = make_clip(tmp_path / "in.mp4", at=at, sounds=[Sound(seconds)])

    result = rewrite(clip, name)

    assert clips.frame_times(result.path) == at
    assert clips.numbers(result.path) == list(range(12))
    assert payload(result.path, 1) == payload(clip, 1)
    offsets = {
        round(float(ours[0] - theirs[0]), 3)
        for ours, theirs in zip(clips.packets(result.path, 1), clips.packets(clip, 1), strict=True)
    }
    assert offsets <= {0.0, 0.001, -0.001}
    assert result.warnings == []


def test_a_film_without_sound_stays_without(tmp_path: Path, rewrite: Rewrite) -> None:
    result = rewrite(make_clip(tmp_path / "in.mp4"))

    assert result.info.audio == () and result.info.subtitles == () and result.warnings == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_several_sound_tracks_keep_their_order_and_languages(
    tmp_path: Path, rewrite: Rewrite, name: str
) -> None:
    sounds = [Sound(1, language="eng"), Sound(1.5, "mp3", "deu"), Sound(0.5, "ac3", "fra")]
    clip = make_clip(tmp_path / "in.mkv", sounds=sounds)

    result = rewrite(clip, name)

    assert [(t.codec, t.language) for t in result.info.audio] == [
        ("aac", "eng"),
        ("mp3", "deu"),
        ("ac3", "fra"),
    ]
    for index in (1, 2, 3):
        assert payload(result.path, index) == payload(clip, index)


def test_the_default_track_stays_the_default(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = tmp_path / "in.mkv"
    make_clip(clip, sounds=[Sound(1, language="eng"), Sound(1, language="deu")])
    second = tmp_path / "second.mkv"
    with av.open(str(clip)) as source, av.open(str(second), "w") as target:
        streams = {s.index: target.add_stream_from_template(s, opaque=True) for s in source.streams}
        streams[1].disposition = 0
        streams[2].disposition = av.stream.Disposition.default | av.stream.Disposition.dub
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)

    result = rewrite(second, "out.mkv")

    with av.open(str(result.path)) as container:
        assert not container.streams[1].disposition & av.stream.Disposition.default
        assert container.streams[2].disposition & av.stream.Disposition.default


@pytest.mark.parametrize(
    ("source", "output"), [("in.mkv", "out.mkv"), ("in.webm", "out.webm"), ("in.webm", "out.mkv")]
)
def test_subtitles_are_copied(tmp_path: Path, rewrite: Rewrite, source: str, output: str) -> None:
    captions = [Caption(0.1, 0.4, "first"), Caption(0.5, 0.9, "second")]
    encoder = {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}} if "webm" in source else {}
    clip = make_clip(tmp_path / source, captions=captions, sounds=[Sound(1, "libopus")], **encoder)

    result = rewrite(clip, output)

    assert clips.packets(result.path, 2) == clips.packets(clip, 2)
    assert [content for _, content in clips.packets(clip, 2)] == [b"first", b"second"]
    assert result.warnings == []


@pytest.mark.parametrize(
    ("name", "sound", "refused"),
    [
        ("out.mp4", "aac", ["subrip"]),
        ("out.webm", "aac", ["subrip", "aac"]),
        ("out.mov", "libopus", ["subrip", "opus"]),
    ],
)
def test_tracks_the_container_cannot_hold_are_named(
    tmp_path: Path, rewrite: Rewrite, name: str, sound: str, refused: list[str]
) -> None:
    clip = make_clip(tmp_path / "in.mkv", captions=[Caption(0, 1, "hello")], sounds=[Sound(1, sound)])

    result = rewrite(clip, name)

    assert len(result.warnings) == len(refused)
    for codec in refused:
        assert any(codec in warning and "left out" in warning for warning in result.warnings)
    assert clips.numbers(result.path) == list(range(12))


def test_trimming_cuts_sound_and_subtitles_at_the_same_times(tmp_path: Path, rewrite: Rewrite) -> None:
    captions = [
        Caption(0.2, 0.6, "gone"),
        Caption(0.8, 1.4, "cut"),
        Caption(1.5, 3.5, "long"),
        Caption(3, 4, "gone"),
    ]
    clip = make_clip(tmp_path / "in.mkv", at=clips.times(48), sounds=[Sound(4, "libopus")], captions=captions)

    result = rewrite(clip, "out.mkv", trim_start=Fraction(1), trim_end=Fraction(5, 2))

    assert clips.frame_times(result.path)[0] == 0
    assert clips.numbers(result.path) == list(range(12, 30))
    sound, whole = clips.packets(result.path, 1), clips.packets(clip, 1)
    inside = [(time - 1, content) for time, content in whole if 1 <= time < Fraction(5, 2)]
    assert [content for _, content in sound] == [content for _, content in inside]
    for (ours, _), (theirs, _) in zip(sound, inside, strict=True):
        assert abs(ours - theirs) <= Fraction(1, 1000)
    assert clips.packets(result.path, 2) == [(Fraction(0), b"cut"), (Fraction(1, 2), b"long")]
    with av.open(str(result.path)) as container:
        assert [p.duration for p in container.demux(container.streams[2]) if p.size] == [400, 1000]


def test_trimmed_sound_stays_with_the_picture_in_mp4(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(48), sounds=[Sound(4)])

    result = rewrite(clip, trim_start=Fraction(1), trim_end=Fraction(2))

    original = {content: time for time, content in clips.packets(clip, 1)}
    kept = clips.packets(result.path, 1)
    assert abs(len(kept) - 48000 / 1024) <= 2
    for time, content in kept[1:]:
        assert abs(original[content] - 1 - time) <= Fraction(1, 1000)


def test_chapters_and_metadata_are_kept_and_chapters_cut(tmp_path: Path, rewrite: Rewrite) -> None:
    chapters = [(0, 1, "one"), (1, 2.5, "two"), (2.5, 4, "three")]
    clip = make_clip(
        tmp_path / "in.mkv",
        at=clips.times(48),
        chapters=chapters,
        metadata={"title": "A film", "artist": "Someone"},
    )

    whole = rewrite(clip, "whole.mkv")
    cut = rewrite(clip, "cut.mp4", trim_start=Fraction(2), trim_end=Fraction(3))

    with av.open(str(whole.path)) as container:
        assert container.metadata["title"] == "A film"
        found = container.chapters()
        assert [(c["start"] * c["time_base"], c["metadata"]["title"]) for c in found] == [
            (0, "one"), (1, "two"), (Fraction(5, 2), "three"),
        ]  # fmt: skip
    with av.open(str(cut.path)) as container:
        assert container.metadata["artist"] == "Someone"
        found = container.chapters()
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in found] == [
            (0, Fraction(1, 2)), (Fraction(1, 2), 1),
        ]  # fmt: skip
        assert [c["metadata"]["title"] for c in found] == ["two", "three"]


def test_fonts_that_subtitles_need_go_along(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = tmp_path / "in.mkv"
    with av.open(str(make_clip(tmp_path / "plain.mkv"))) as source, av.open(str(clip), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        target.add_attachment("letters.ttf", "font/ttf", b"not really a font")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)

    result = rewrite(clip, "out.mkv")

    with av.open(str(result.path)) as container:
        (font,) = container.streams.attachments
        assert font.data == b"not really a font"
        assert font.name == "letters.ttf"


def test_real_clip_with_several_tracks(shared: Path, rewrite: Rewrite) -> None:
    clip = shared / "media" / "nasa_13013_multistream.mp4"

    result = rewrite(clip, trim_end=Fraction(2))

    assert [t.codec for t in result.info.audio] == ["aac", "aac"]
    assert [t.codec for t in result.info.subtitles] == ["mov_text", "mov_text"]
    assert result.warnings == ["1 further video track(s) are left out"]


def test_a_sound_track_that_breaks_off_does_not_stop_the_film(shared: Path, rewrite: Rewrite) -> None:
    clip = shared / "media" / "failing_audio.mp4"

    result = rewrite(clip)

    assert clips.frame_times(result.path) == clips.frame_times(clip)
    assert payload(result.path, 1) == payload(clip, probe(clip).audio[0].index)


def test_a_film_given_up_early_leaves_no_encoder_to_the_garbage_collector(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", sounds=[Sound(2.0)])
    info = probe(clip)
    gc.collect()
    gc.disable()
    try:
        with VideoReader(clip, info) as reader, VideoWriter(tmp_path / "out.mp4", info) as writer:
            writer.write(next(iter(reader)))
        del reader, writer
        assert not [each for each in gc.get_objects() if isinstance(each, TrackCopier)]
    finally:
        gc.enable()
