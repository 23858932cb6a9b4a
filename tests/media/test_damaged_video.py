"""What cannot be decoded is an error that says where, never a black or repeated frame."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest

from facefusion_runner.errors import MediaError, RunnerError
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
from tests.media.conftest import Rewrite
from tests.support import clips
from tests.support.clips import Sound, make_clip

GROUPED = {"preset": "ultrafast", "crf": "10", "g": "6"}


def read(path: Path, **options: Fraction) -> list[int]:
    with VideoReader(path, probe(path), **options) as reader:
        return [clips.number_of(frame.bgr) for frame in reader]


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def garbled(data: bytes) -> bytes:
    half = len(data) // 2
    return data[:half] + bytes(255 - value for value in data[half:])


@pytest.mark.parametrize(
    ("codec", "name", "options"),
    [
        ("libx264", "in.mp4", GROUPED),
        ("libx264", "in.mkv", GROUPED),
        ("libx264", "in.mov", {"preset": "medium", "bf": "2"}),
        ("libx265", "in.mp4", {"x265-params": "log-level=none:keyint=6"}),
        ("libsvtav1", "in.mp4", {"preset": "12", "svtav1-params": "keyint=6"}),
        ("libvpx-vp9", "in.webm", {"cpu-used": "8", "g": "6"}),
        ("mjpeg", "in.mkv", {}),
    ],
)
def test_a_frame_overwritten_with_zeros_is_an_error_that_names_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str, name: str, options: dict[str, str]
) -> None:
    monkeypatch.setenv("SVT_LOG", "1")
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    clip = make_clip(tmp_path / name, codec=codec, pix_fmt=pix_fmt, at=clips.times(18), options=options)
    damaged = clips.damage_packet(clip, tmp_path / f"damaged{clip.suffix}", 7, zeros)

    with pytest.raises(MediaError) as caught:
        read(damaged)

    message = str(caught.value)
    assert str(damaged) in message and "\n" not in message
    match = re.search(r"frame (\d+) at (\d+\.\d+) s", message)
    assert match is not None, message
    assert abs(int(match[1]) - 7) <= 4 and abs(float(match[2]) - 7 / 12) < 0.35


@pytest.mark.parametrize("change", [zeros, garbled])
def test_a_damaged_frame_is_noticed_with_any_number_of_threads(
    tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(24), options=GROUPED, size=(320, 240))
    damaged = clips.damage_packet(clip, tmp_path / "damaged.mp4", 9, change)
    for threads in (1, 2, 4):
        with (
            pytest.raises(MediaError, match="cannot be decoded"),
            VideoReader(damaged, probe(damaged), threads=threads) as reader,
        ):
            list(reader)


def test_the_last_frame_damaged_is_noticed(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", options=GROUPED)
    damaged = clips.damage_packet(clip, tmp_path / "damaged.mp4", 11, zeros)

    with pytest.raises(MediaError, match=r"frame 11 at 0\.917 s"):
        read(damaged)


def test_damage_after_the_kept_stretch_does_not_matter(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(36), options=GROUPED)
    damaged = clips.damage_packet(clip, tmp_path / "damaged.mp4", 30, zeros)

    assert read(damaged, trim_end=Fraction(1)) == list(range(12))


def fast_start(tmp_path: Path) -> Path:
    return make_clip(
        tmp_path / "front.mp4",
        at=clips.times(24),
        sounds=[Sound(2)],
        container_options={"movflags": "+faststart"},
    )


@pytest.mark.parametrize("part", [0.35, 0.6, 0.9, 0.999])
def test_a_cut_off_mp4_with_its_index_in_front_is_an_error(tmp_path: Path, part: float) -> None:
    whole = fast_start(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(RunnerError, match=r"cut off|decoded"):
        read(cut)


def test_a_cut_off_mp4_with_its_index_at_the_end_is_an_error(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "in.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(RunnerError, match=re.escape(str(cut))):
        read(cut)


@pytest.mark.parametrize("part", [0.5, 0.8, 0.98])
@pytest.mark.parametrize("name", ["in.mkv", "in.webm", "in.gif"])
def test_a_cut_off_file_of_another_kind_is_an_error(tmp_path: Path, name: str, part: float) -> None:
    kinds = {
        "in.mkv": {},
        "in.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
        "in.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
    }
    whole = make_clip(tmp_path / name, **kinds[name]).read_bytes()
    cut = tmp_path / f"cut{Path(name).suffix}"
    cut.write_bytes(whole[: int(len(whole) * part)])

    with pytest.raises(MediaError, match="cut off"):
        read(cut)


def test_the_part_before_the_cut_can_still_be_had(tmp_path: Path) -> None:
    whole = fast_start(tmp_path).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: int(len(whole) * 0.8)])

    assert read(cut, trim_end=Fraction(1, 2)) == list(range(6))


def test_bytes_after_the_end_of_a_film_do_no_harm(tmp_path: Path) -> None:
    for name in ("in.mp4", "in.mkv"):
        clip = make_clip(tmp_path / name)
        clip.write_bytes(clip.read_bytes() + bytes(1000))
        assert read(clip) == list(range(12))


def test_a_size_that_changes_in_mid_film_is_an_error(tmp_path: Path) -> None:
    parts = [make_clip(tmp_path / f"{w}.h264", size=(w, 64), at=clips.times(6)) for w in (96, 128)]
    joined = tmp_path / "joined.mkv"
    with av.open(str(joined), "w") as target, av.open(str(make_clip(tmp_path / "t.mkv"))) as template:
        stream = target.add_stream_from_template(template.streams.video[0], opaque=True)
        count = 0
        for part in parts:
            with av.open(str(part)) as source:
                for packet in source.demux(video=0):
                    if packet.size:
                        packet.stream, packet.time_base = stream, Fraction(1, 12)
                        packet.pts = packet.dts = count
                        count += 1
                        target.mux(packet)

    with pytest.raises(MediaError, match="size changes from 96x64 to 128x64"):
        read(joined)


def test_nothing_is_at_the_output_path_after_damage(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", at=clips.times(24), options=GROUPED)
    damaged = clips.damage_packet(clip, tmp_path / "damaged.mp4", 9, zeros)
    folder = tmp_path / "out"
    folder.mkdir()
    info = probe(damaged)

    with (
        pytest.raises(MediaError),
        VideoReader(damaged, info) as reader,
        VideoWriter(folder / "out.mp4", info, preset="ultrafast") as writer,
    ):
        for frame in reader:
            writer.write(frame)
        writer.commit()

    assert list(folder.iterdir()) == []


def test_real_damaged_clip_says_which_frame(shared: Path) -> None:
    with pytest.raises(MediaError, match=r"corrupted\.mp4: frame 30 at 3\.000 s cannot be decoded"):
        read(shared / "media" / "corrupted.mp4")


def test_all_healthy_real_clips_decode_to_the_end(shared: Path) -> None:
    for path in sorted((shared / "media").iterdir()):
        if path.name in ("corrupted.mp4", "pexels_group.mp4", "pexels_closeup.mp4"):
            continue
        with VideoReader(path, probe(path)) as reader:
            times = [frame.time for frame in reader]
        assert times == clips.frame_times(path) or probe(path).other_video


@pytest.mark.parametrize("seed", range(24))
def test_random_damage_ends_in_one_line_and_leaves_nothing(
    tmp_path: Path, rewrite: Rewrite, seed: int
) -> None:
    import random

    draw = random.Random(seed)
    kinds = ["in.mp4", "in.mkv", "in.gif"]
    name = kinds[seed % 3]
    gif = {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)}
    clip = make_clip(
        tmp_path / name, sounds=[] if "gif" in name else [Sound(1)], **(gif if "gif" in name else {})
    )
    data = bytearray(clip.read_bytes())
    for _ in range(draw.choice([1, 4, 40])):
        data[draw.randrange(len(data))] = draw.randrange(256)
    clip.write_bytes(data)
    try:
        rewrite(clip, "out.mp4")
    except RunnerError as error:
        assert "\n" not in str(error)
        assert not (tmp_path / "out.mp4").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
