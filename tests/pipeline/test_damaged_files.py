"""Damaged files of every kind end in a result or in one clear line, never in a hang or a leftover."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from facefusion_runner.errors import RunnerError
from tests.pipeline.conftest import SmallTask, faces

PER_KIND = 72
VIDEOS = {
    "mp4": ("libx264", "aac"),
    "mov": ("libx265", "aac"),
    "mkv": ("libx264", "libopus"),
    "webm": ("libvpx-vp9", "libopus"),
}
PICTURES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}


def video(kind: str) -> bytes:
    """Eight small frames with sound."""
    codec, sound = VIDEOS[kind]
    buffer = io.BytesIO()
    muxer = {"mkv": "matroska"}.get(kind, kind)
    with av.open(buffer, "w", format=muxer) as container:
        quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream = container.add_stream(codec, rate=25, options=quiet)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        audio = container.add_stream(sound, rate=48000)
        for number, pixels in enumerate(faces(8, (96, 64), 24)):
            frame = av.VideoFrame.from_ndarray(pixels, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 15360), np.float32), "fltp", "mono")
        samples.sample_rate, samples.pts, samples.time_base = 48000, 0, Fraction(1, 48000)
        container.mux(audio.encode(samples))
        for each in (stream, audio):
            container.mux(each.encode(None))
    return buffer.getvalue()


def picture(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(faces(1, (96, 64), 24)[0][..., ::-1]).save(buffer, PICTURES[kind])
    return buffer.getvalue()


def cut_off(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def flip_bytes(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 8, 64))):
        content[chance.randrange(len(content))] = chance.randrange(256)


def flip_bytes_of_the_header(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 2, 4))):
        content[chance.randrange(min(len(content), 700))] = chance.choice((0, 1, 127, 128, 255))


def blank_a_stretch(content: bytearray, chance: random.Random) -> None:
    start, length = chance.randrange(len(content)), chance.randrange(1, 400)
    content[start : start + length] = bytes(len(content[start : start + length]))


def repeat_a_stretch(content: bytearray, chance: random.Random) -> None:
    start, length = chance.randrange(len(content)), chance.randrange(1, 400)
    content[start:start] = content[start : start + length]


def drop_a_stretch(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.randrange(1, 400)]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    cut_off,
    flip_bytes,
    flip_bytes_of_the_header,
    blank_a_stretch,
    repeat_a_stretch,
    drop_a_stretch,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", [*VIDEOS, *PICTURES])
def test_a_damaged_target_ends_well(
    tmp_path: Path, tiny_models: Path, kind: str, damage: Callable[[bytearray, random.Random], None]
) -> None:
    healthy = video(kind) if kind in VIDEOS else picture(kind)
    target = tmp_path / f"target.{kind}"
    task = SmallTask(tmp_path, tiny_models)
    task.output = tmp_path / ("out.mp4" if kind in VIDEOS else "out.png")
    for seed in range(PER_KIND // len(DAMAGES)):
        content = bytearray(healthy)
        damage(content, random.Random(f"{kind} {damage.__name__} {seed}"))
        target.write_bytes(content)
        try:
            task.run(target=target, output=task.output, overwrite=True)
            assert task.output.stat().st_size > 0
        except RunnerError as error:
            assert "\n" not in str(error), str(error)
        left = set(task.leftovers()) - {target.name}
        assert not left and task.caches() == [], f"seed {seed} left {left} {task.caches()}"
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("stage-")]


def test_the_undamaged_files_work(tmp_path: Path, tiny_models: Path) -> None:
    task = SmallTask(tmp_path, tiny_models)
    for kind in (*VIDEOS, *PICTURES):
        target = tmp_path / f"target.{kind}"
        target.write_bytes(video(kind) if kind in VIDEOS else picture(kind))
        output = tmp_path / ("out.mp4" if kind in VIDEOS else "out.png")
        result = task.run(target=target, output=output, overwrite=True)
        assert result.faces == (8 if kind in VIDEOS else 1)
