"""A film that was written in stretches, even by several processes, is one film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from facefusion_runner.media.packets import Packets
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
from tests.support import clips

CUTS = (5, 6, 14)
Write = Callable[..., list[Packets]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes `source` to a name, cut before the frames of these numbers; those before `known` are put in
    as an earlier writer has cut them."""

    def run(
        source: Path, name: str, cuts: Sequence[int] = CUTS, known: Sequence[Packets] = (), **options: Any
    ) -> list[Packets]:
        info, made = probe(source), list(known)
        first = cuts[len(known) - 1] if known else 0
        with (
            VideoReader(source, info, threads=1) as reader,
            VideoWriter(
                tmp_path / name,
                info,
                preset="veryfast",
                time_base=reader.time_base,
                start=reader.start,
                end=reader.end,
                threads=1,
                in_stretches=True,
                **options,
            ) as writer,
        ):
            for stretch in known:
                writer.put(stretch)
            for frame in reader:
                if frame.index in cuts and frame.index > first:
                    made.append(writer.cut())
                if frame.index >= first:
                    writer.write(frame)
            writer.commit()
        return made

    return run


def decoded(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and pixels of every frame."""
    with av.open(str(path)) as film:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="yuv420p").tobytes())
            for frame in film.decode(video=0)
        ]


def test_the_same_film_is_encoded_to_the_same_bits_each_time(tmp_path: Path, write: Write) -> None:
    source = clips.make_clip(tmp_path / "in.mp4", at=clips.times(20))
    films = set()
    for _ in range(30):
        write(source, "a.mp4", cuts=(), encoder="h264", overwrite=True)
        films.add(tuple(picture for _, picture in decoded(tmp_path / "a.mp4")))
    assert len(films) == 1


@pytest.mark.parametrize(
    ("name", "encoder"),
    [("a.mp4", "h264"), ("a.mp4", "hevc"), ("a.mp4", "av1"), ("a.mkv", "h264"), ("a.webm", "vp9")],
)
@pytest.mark.parametrize("uneven", [False, True], ids=["constant", "variable"])
def test_another_writer_goes_on_to_the_very_same_film(
    tmp_path: Path, write: Write, name: str, encoder: str, uneven: bool
) -> None:
    at = clips.uneven_times(20) if uneven else clips.times(20)
    source = clips.make_clip(tmp_path / "in.mp4", at=at, sounds=[clips.Sound(1.7)])
    stretches = write(source, name, encoder=encoder)
    assert len(stretches) == len(CUTS)
    whole = decoded(tmp_path / name)
    for known in range(1, len(CUTS) + 1):
        write(source, f"again_{name}", known=stretches[:known], encoder=encoder)
        assert decoded(tmp_path / f"again_{name}") == whole


@pytest.mark.parametrize(("name", "encoder"), [("a.mp4", "h264"), ("a.mp4", "hevc"), ("a.mkv", "av1")])
def test_cuts_change_neither_times_nor_sound_nor_what_is_seen(
    tmp_path: Path, write: Write, name: str, encoder: str
) -> None:
    at = clips.uneven_times(20)
    source = clips.make_clip(tmp_path / "in.mp4", at=at, sounds=[clips.Sound(1.7)])
    write(source, name, encoder=encoder)
    write(source, f"uncut_{name}", cuts=(), encoder=encoder)
    for path in (tmp_path / name, tmp_path / f"uncut_{name}"):
        info = probe(path)
        assert (info.frames or 20, len(info.audio)) == (20, 1)
        with av.open(str(path)) as film:
            seen = [
                (frame.pts * frame.time_base, clips.number_of(frame.to_ndarray(format="bgr24")))
                for frame in film.decode(video=0)
            ]
        assert seen == [(time, number) for number, time in enumerate(at)]
    durations = [probe(path).duration for path in (tmp_path / name, tmp_path / f"uncut_{name}")]
    assert durations[0] == durations[1]


def test_decoding_times_rise_across_cuts(tmp_path: Path, write: Write) -> None:
    source = clips.make_clip(tmp_path / "in.mp4", at=clips.uneven_times(24))
    write(source, "a.mp4", cuts=(3, 9, 10, 17))
    with av.open(str(tmp_path / "a.mp4")) as film:
        packets = [packet for packet in film.demux(video=0) if packet.size]
    times = [packet.dts for packet in packets]
    assert times == sorted(set(times))
    assert all(packet.dts <= packet.pts for packet in packets)
    assert sum(packet.is_keyframe for packet in packets) >= 5
