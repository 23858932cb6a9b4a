"""The output has the input's frames at the input's times, or what trimming and another rate ask for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from facefusion_runner.errors import InputError, MediaError
from facefusion_runner.media import colour
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import Sound, make_clip


def in_milliseconds(times: list[Fraction]) -> list[Fraction]:
    """As Matroska keeps them."""
    return [Fraction(int(time * 1000 + Fraction(1, 2)), 1000) for time in times]


@pytest.mark.parametrize("source", ["in.mp4", "in.mkv", "in.mov"])
@pytest.mark.parametrize("output", ["out.mp4", "out.mkv", "out.mov"])
def test_variable_frame_rate_keeps_every_timestamp(
    tmp_path: Path, rewrite: Rewrite, source: str, output: str
) -> None:
    clip = make_clip(tmp_path / source, at=clips.uneven_times(16))

    result = rewrite(clip, output)

    assert clips.frame_times(result.path) == clips.frame_times(clip) == clips.uneven_times(16)
    assert clips.numbers(result.path) == list(range(16))


def test_times_that_are_no_milliseconds_are_exact_in_mp4_and_rounded_in_webm(
    tmp_path: Path, rewrite: Rewrite
) -> None:
    at = [Fraction(1001 * index, 30000) for index in range(12)]
    clip = make_clip(tmp_path / "ntsc.mp4", at=at, time_base=Fraction(1, 30000))

    assert clips.frame_times(rewrite(clip, "out.mp4").path) == at
    assert clips.frame_times(rewrite(clip, "out.webm").path) == in_milliseconds(at)


def test_frames_that_refer_to_later_ones_come_in_order(tmp_path: Path, rewrite: Rewrite) -> None:
    options = {"preset": "medium", "bf": "4", "crf": "10"}
    clip = make_clip(tmp_path / "b.mp4", at=clips.uneven_times(24), options=options)
    with av.open(str(clip)) as container:
        decoding = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert decoding != sorted(decoding)

    result = rewrite(clip, preset="medium")

    assert clips.numbers(result.path) == list(range(24))
    assert clips.frame_times(result.path) == clips.uneven_times(24)


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4"])
def test_a_late_start_is_kept_together_with_the_sound(tmp_path: Path, rewrite: Rewrite, name: str) -> None:
    at = [time + Fraction(1, 2) for time in clips.times(12)]
    clip = make_clip(tmp_path / name, at=at, sounds=[Sound(1.5)])

    result = rewrite(clip, name.replace("late", "out"))

    assert clips.frame_times(result.path) == clips.frame_times(clip)
    assert clips.frame_times(clip)[0] == Fraction(1, 2)
    assert clips.packets(result.path, 1) == clips.packets(clip, 1)


def test_the_last_frame_is_shown_as_long_as_before(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=[*clips.times(6), Fraction(2), Fraction(4)])

    assert rewrite(clip).info.duration == probe(clip).duration == 6


def test_half_the_frame_rate_keeps_the_duration_and_drops_every_second_frame(
    tmp_path: Path, rewrite: Rewrite
) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(36, 30), sounds=[Sound(1.2)])

    result = rewrite(clip, fps=Fraction(15))

    assert clips.frame_times(result.path) == clips.times(18, 15)
    shown = clips.numbers(result.path)
    assert all(number in (2 * place, 2 * place + 1) for place, number in enumerate(shown))
    assert result.info.duration == probe(clip).duration == Fraction(6, 5)


def test_a_higher_frame_rate_keeps_the_duration_and_repeats_frames(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(10, 10))

    result = rewrite(clip, fps=Fraction(25))

    assert clips.frame_times(result.path) == clips.times(25, 25)
    shown = clips.numbers(result.path)
    assert shown == sorted(shown)
    assert {shown.count(number) for number in range(10)} == {2, 3}


def test_repeated_frames_can_be_changed_one_by_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(3, 5))
    with VideoReader(clip, probe(clip), fps=Fraction(10)) as reader:
        first, second, *_ = reader
    untouched = second.bgr.copy()

    first.paste(10, 10, 255 - first.bgr[10:20, 10:20])

    assert (second.bgr == untouched).all()
    assert (first.bgr != untouched).any()


def test_fps_of_a_variable_frame_rate_puts_every_frame_at_the_nearest_tick(
    tmp_path: Path, rewrite: Rewrite
) -> None:
    at = clips.uneven_times(14)
    clip = make_clip(tmp_path / "in.mp4", at=at)

    result = rewrite(clip, fps=Fraction(20))

    times, shown = clips.frame_times(result.path), clips.numbers(result.path)
    assert times == clips.times(len(times), 20)
    end = 2 * at[-1] - at[-2]
    assert abs(times[-1] + Fraction(1, 20) - end) <= Fraction(1, 40)
    for time, number in zip(times, shown, strict=True):
        following = at[number + 1] if number + 1 < len(at) else Fraction(100)
        assert at[number] <= time + Fraction(1, 40) and time - Fraction(1, 40) <= following


@pytest.mark.parametrize("name", ["in.mp4", "in.mkv", "in.webm"])
def test_trimming_keeps_exactly_the_frames_between(tmp_path: Path, rewrite: Rewrite, name: str) -> None:
    encoder = {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "g": "8"}} if "webm" in name else {}
    clip = make_clip(tmp_path / name, at=clips.times(48), **encoder)

    result = rewrite(clip, "out.mp4", trim_start=Fraction("1.2"), trim_end=Fraction("2.5"))

    # Frames 15 (1.25 s) to 29 (2.417 s); the first one is the output's beginning.
    assert clips.numbers(result.path) == list(range(15, 30))
    inside = [time for time in clips.frame_times(clip) if Fraction("1.2") <= time < Fraction("2.5")]
    assert clips.frame_times(result.path) == [time - inside[0] for time in inside]


@pytest.mark.parametrize("number", range(1, 24, 3))
def test_trimming_starts_at_any_frame_of_a_group_of_pictures(tmp_path: Path, number: int) -> None:
    options = {"preset": "medium", "bf": "3", "g": "8", "x264-params": "open-gop=1"}
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(24), options=options)

    with VideoReader(clip, probe(clip), trim_start=Fraction(number, 12)) as reader:
        assert [clips.number_of(frame.bgr) for frame in reader] == list(range(number, 24))
        assert reader.start == Fraction(number, 12)


def test_trimming_counts_from_the_first_frame_of_a_late_start(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mkv", at=[time + 5 for time in clips.times(24)])

    with VideoReader(clip, probe(clip), trim_start=Fraction(1)) as reader:
        assert [clips.number_of(frame.bgr) for frame in reader] == list(range(12, 24))


def test_trimming_and_another_rate_together(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(48), sounds=[Sound(4)])

    result = rewrite(clip, trim_start=Fraction(1), trim_end=Fraction(3), fps=Fraction(6))

    assert clips.frame_times(result.path) == clips.times(12, 6)
    assert clips.numbers(result.path) == pytest.approx(range(12, 36, 2), abs=1)


def test_trimming_everything_away_is_refused(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4")

    with (
        pytest.raises(InputError, match="no frame lies between"),
        VideoReader(clip, probe(clip), trim_start=Fraction(20)),
    ):
        pass


def test_the_expected_number_of_frames_is_that_which_comes(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(48))
    for options in (
        {},
        {"fps": Fraction(24)},
        {"trim_start": Fraction(1), "trim_end": Fraction(2)},
        {"trim_end": Fraction(100)},
    ):
        with VideoReader(clip, probe(clip), **options) as reader:
            assert reader.expected_frames == len(list(reader))


def motion_jpeg(path: Path, at: list[int]) -> Path:
    """Packets at the given milliseconds, in the order given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25, time_base=Fraction(1, 1000))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        for index, milliseconds in enumerate(at):
            frame = av.VideoFrame.from_ndarray(clips.draw(index, 96, 64), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 1000)
            for packet in stream.encode(frame):
                packet.pts = packet.dts = milliseconds
                container.mux(packet)
    return path


def test_two_frames_with_one_timestamp_are_both_kept_and_the_user_is_told(
    tmp_path: Path, rewrite: Rewrite
) -> None:
    clip = motion_jpeg(tmp_path / "twice.mkv", [0, 40, 40, 120])
    assert clips.frame_times(clip) == [0, Fraction(40, 1000), Fraction(40, 1000), Fraction(120, 1000)]

    result = rewrite(clip)

    assert clips.numbers(result.path) == [0, 1, 2, 3]
    assert clips.frame_times(result.path) == [Fraction(ms, 1000) for ms in (0, 40, 41, 120)]
    assert len(result.warnings) == 1 and "same time" in result.warnings[0]


def test_a_timestamp_far_in_the_future_is_an_error_and_no_endless_film(tmp_path: Path) -> None:
    clip = motion_jpeg(tmp_path / "jump.mkv", [0, 40, 90_000_000])

    with (
        pytest.raises(MediaError, match="timestamps jump"),
        VideoReader(clip, probe(clip), fps=Fraction(30)) as reader,
    ):
        list(reader)


def test_real_clips_with_odd_timestamps(shared: Path, rewrite: Rewrite) -> None:
    for name in ("rot180_vfr_audio.mp4", "unordered_pts.mov", "intel_asl_brother.mkv"):
        clip = shared / "media" / name
        result = rewrite(clip, "out.mp4")
        assert clips.frame_times(result.path) == clips.frame_times(clip)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_what_is_pasted_into_a_repeated_frame_is_not_in_its_repetition(tmp_path: Path, suffix: str) -> None:
    kind = {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)} if suffix == ".gif" else {}
    clip = make_clip(tmp_path / f"slow{suffix}", at=clips.times(2, 2), **kind)

    with VideoReader(clip, probe(clip), fps=Fraction(8)) as reader:
        seen = []
        for frame in reader:
            seen.append(np.dstack([frame.bgr, colour.planes(frame.picture)[0]]))
            frame.paste(10, 10, np.full((8, 8, 3), 255, np.uint8))

    assert len(seen) == 8
    assert all(np.array_equal(again, seen[0]) for again in seen[:4])
    assert all(np.array_equal(again, seen[4]) for again in seen[4:])


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_trimmed_film_ends_where_it_is_cut_also_when_a_frame_would_last_longer(
    tmp_path: Path, rewrite: Rewrite, name: str
) -> None:
    at = [Fraction(second) for second in (0, 1, 5, 10)]
    clip = make_clip(tmp_path / "slides.mp4", at=at, sounds=[Sound(10.0)])

    result = rewrite(clip, name, trim_end=Fraction(6))

    assert result.times == at[:3]
    with av.open(str(result.path)) as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(6, abs=0.1)


def test_a_start_beyond_all_time_is_one_clear_line_where_the_file_tells_no_duration(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "live.mkv", container_options={"live": "1"})
    info = probe(clip)
    assert info.duration is None

    with pytest.raises(InputError, match="no frame"), VideoReader(clip, info, trim_start=Fraction(10**18)):
        pass
