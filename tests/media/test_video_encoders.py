"""Encoders are chosen by name or by the container, and fall back to software with one warning."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import pytest

from facefusion_runner.errors import ConfigError, InputError
from facefusion_runner.media.encoders import ENCODERS, choose, container_for, unusable
from facefusion_runner.media.probe import HdrMetadata, probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import make_clip

HARDWARE = [name for name, encoder in ENCODERS.items() if encoder.hardware]
SOFTWARE = [name for name, encoder in ENCODERS.items() if not encoder.hardware]


@pytest.mark.parametrize("name", SOFTWARE)
def test_every_software_encoder_can_be_used_here(name: str) -> None:
    assert unusable(ENCODERS[name]) is None


@pytest.mark.parametrize("name", SOFTWARE)
@pytest.mark.parametrize("container", [".mp4", ".mkv"])
def test_films_are_written_with_the_encoder_asked_for(
    tmp_path: Path, rewrite: Rewrite, name: str, container: str
) -> None:
    result = rewrite(make_clip(tmp_path / "in.mp4"), "out" + container, encoder=name)

    assert result.info.codec == name
    assert clips.numbers(result.path) == list(range(12))
    assert clips.frame_times(result.path)[-1] == pytest.approx(11 / 12, abs=5e-4)


@pytest.mark.parametrize("name", HARDWARE)
def test_without_a_gpu_software_takes_over_with_one_warning(
    tmp_path: Path, rewrite: Rewrite, name: str
) -> None:
    why = unusable(ENCODERS[name])
    if why is None:
        pytest.skip(f"{name} works here")

    result = rewrite(make_clip(tmp_path / "in.mp4"), encoder=name)

    assert result.info.codec == name.split("_")[0]
    assert len(result.warnings) == 1
    assert name in result.warnings[0] and why in result.warnings[0] and "software" in result.warnings[0]
    assert clips.numbers(result.path) == list(range(12))


@pytest.mark.parametrize("name", HARDWARE)
def test_a_gpus_own_preset_does_not_stop_the_fallback(tmp_path: Path, rewrite: Rewrite, name: str) -> None:
    if unusable(ENCODERS[name]) is None:
        pytest.skip(f"{name} works here")

    assert len(rewrite(make_clip(tmp_path / "in.mp4"), encoder=name, preset="p1").warnings) == 1


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_has_its_library_in_the_build(name: str) -> None:
    assert av.Codec(ENCODERS[name].library, "w").is_encoder


@pytest.mark.parametrize(
    ("suffix", "wanted"),
    [(".mp4", "h264"), (".mov", "h264"), (".mkv", "h264"), (".webm", "vp9"), (".MP4", "h264")],
)
def test_the_container_decides_where_nothing_was_asked_for(suffix: str, wanted: str) -> None:
    assert choose("auto", container_for(Path("out" + suffix))).name == wanted


def test_an_unknown_container_or_encoder_is_named_with_what_there_is() -> None:
    with pytest.raises(InputError, match=r"\.mp4, \.mov, \.mkv, \.webm"):
        container_for(Path("out.avi"))
    with pytest.raises(ConfigError, match="'divx' is unknown; there are auto, h264"):
        choose("divx", container_for(Path("out.mp4")))


@pytest.mark.parametrize("name", SOFTWARE)
def test_better_quality_makes_larger_files(tmp_path: Path, rewrite: Rewrite, name: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", size=(320, 240), at=clips.times(6))
    sizes = [
        rewrite(clip, f"{quality}.mkv", encoder=name, quality=quality).path.stat().st_size
        for quality in (0, 50, 100)
    ]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("preset", ["ultrafast", "medium", "veryslow", None])
def test_the_common_presets_are_known_to_all(name: str, preset: str | None) -> None:
    assert ENCODERS[name].options(50, preset, HdrMetadata(None, None))[
        "preset" if name != "vp9" else "cpu-used"
    ]


@pytest.mark.parametrize(
    ("name", "preset"), [("h264", "placebo"), ("av1", "13"), ("vp9", "8"), ("h264_nvenc", "p7")]
)
def test_an_encoders_own_presets_are_known(name: str, preset: str) -> None:
    assert preset in ENCODERS[name].options(50, preset, HdrMetadata(None, None)).values()


@pytest.mark.parametrize(
    ("name", "preset"), [("h264", "warp"), ("av1", "14"), ("vp9", "p1"), ("hevc_nvenc", "placebo")]
)
def test_an_unknown_preset_is_named_with_what_there_is(name: str, preset: str) -> None:
    with pytest.raises(ConfigError, match=f"preset '{preset}'.*ultrafast"):
        ENCODERS[name].options(50, preset, HdrMetadata(None, None))


@pytest.mark.parametrize("encoder", ["hevc", "av1"])
def test_a_film_too_small_for_the_encoder_is_refused(tmp_path: Path, rewrite: Rewrite, encoder: str) -> None:
    clip = make_clip(tmp_path / "in.mp4", size=(48, 64))

    with pytest.raises(InputError, match="needs 64x16 at least"):
        rewrite(clip, encoder=encoder)
    assert rewrite(clip).info.width == 48


@pytest.mark.parametrize("encoder", SOFTWARE)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_shortest_films_are_written(tmp_path: Path, rewrite: Rewrite, encoder: str, count: int) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(count))
    for repetition in range(4):
        result = rewrite(clip, f"{repetition}.mp4", encoder=encoder, preset="medium")
        assert clips.frame_times(result.path) == clips.times(count)


@pytest.mark.parametrize("encoder", SOFTWARE)
def test_a_variable_frame_rate_is_kept_by_every_encoder(
    tmp_path: Path, rewrite: Rewrite, encoder: str
) -> None:
    at = clips.uneven_times(20)
    clip = make_clip(tmp_path / "in.mp4", at=at)

    assert clips.frame_times(rewrite(clip, encoder=encoder, preset="medium").path) == at


def test_hevc_in_mp4_has_the_tag_that_apple_plays(tmp_path: Path, rewrite: Rewrite) -> None:
    result = rewrite(make_clip(tmp_path / "in.mp4"), encoder="hevc")

    with av.open(str(result.path)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


def test_the_rate_of_the_output_is_written(tmp_path: Path, rewrite: Rewrite) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(24, 24))

    assert probe(clip).rate == rewrite(clip).info.rate == 24
    assert rewrite(clip, "slow.mp4", fps=Fraction(8)).info.rate == 8


@pytest.mark.parametrize("name", SOFTWARE)
@pytest.mark.parametrize("rate", [Fraction(1, 20), Fraction(480)])
def test_very_slow_and_very_fast_films_are_written(
    tmp_path: Path, rewrite: Rewrite, name: str, rate: Fraction
) -> None:
    at = [index / rate for index in range(8)]
    clip = make_clip(tmp_path / "in.mp4", at=at)

    assert clips.frame_times(rewrite(clip, encoder=name).path) == at


def test_encoders_write_nothing_to_the_terminal(
    tmp_path: Path, rewrite: Rewrite, capfd: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "in.mp4")
    capfd.readouterr()
    for encoder in SOFTWARE:
        rewrite(clip, "out.mkv", encoder=encoder)

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("encoder", SOFTWARE)
def test_no_encoder_takes_a_priority_above_all_other_programs(tmp_path: Path, encoder: str) -> None:
    """SVT-AV1 asks for it when root starts it; the threads of a process and its children have it then."""
    info = probe(make_clip(tmp_path / "in.mp4"))

    def policies() -> set[int]:
        return {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}

    before = policies()
    with (
        VideoReader(info.path, info) as reader,
        VideoWriter(
            tmp_path / "out.mkv", info, encoder=encoder, time_base=reader.time_base, in_stretches=True
        ) as writer,
    ):
        for frame in reader:
            if frame.index == 6:
                writer.cut()
            writer.write(frame)
            assert policies() == before
        writer.commit()
    assert unusable(ENCODERS[encoder]) is None
    assert policies() == before
