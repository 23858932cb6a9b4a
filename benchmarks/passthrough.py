"""How much slower a film goes through the reader and the writer than through a plain PyAV loop.

Both decode and encode the same 1080p clip with the same encoder, preset, quality and threads; the
repetitions take turns, so that both meet the same machine. Prints the ratio of the medians.

    python -m benchmarks.passthrough [--frames 300] [--preset veryfast] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from facefusion_runner.media.encoders import DEFAULT_QUALITY, ENCODERS
from facefusion_runner.media.probe import HdrMetadata, probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter

WIDTH, HEIGHT = 1920, 1080


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        make_clip(clip, arguments.frames)
        ways: dict[str, Callable[[], None]] = {
            "plain PyAV": lambda: plain(clip, Path(folder) / "plain.mp4", arguments.preset),
            "reader and writer": lambda: _ours(clip, Path(folder) / "ours.mp4", arguments.preset),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(arguments.repeat):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{arguments.frames} frames of {WIDTH}x{HEIGHT}, x264 {arguments.preset}")
    for name, value in medians.items():
        print(f"{name:20} {value:7.2f} s  {arguments.frames / value:6.1f} frames/s")
    print(f"ratio {medians['reader and writer'] / medians['plain PyAV']:.3f}")


def make_clip(path: Path, frames: int) -> None:
    """Moving texture with noise: as dear to encode as camera footage."""
    noise = np.random.default_rng(0).integers(0, 24, (HEIGHT + 64, WIDTH + 64), np.uint8)
    y, x = np.mgrid[0 : HEIGHT + 64, 0 : WIDTH + 64]
    texture = (96 + 60 * np.sin(x / 23) * np.cos(y / 31) + noise).astype(np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "18"})
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = WIDTH, HEIGHT
        for index in range(frames):
            dy, dx = index * 3 % 64, index * 5 % 64
            luma = texture[dy : dy + HEIGHT, dx : dx + WIDTH]
            planes = np.concatenate([luma, np.full((HEIGHT // 2, WIDTH), 128, np.uint8)])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode(None))


def plain(clip: Path, output: Path, preset: str) -> None:
    options = ENCODERS["h264"].options(DEFAULT_QUALITY, preset, HdrMetadata(None, None))
    with av.open(str(clip)) as source, av.open(str(output), "w") as container:
        decoded = source.streams.video[0]
        decoded.thread_type = "AUTO"
        time_base = decoded.time_base or Fraction(1, 1000)
        stream = container.add_stream("libx264", rate=30, options=options, time_base=time_base)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = decoded.width, decoded.height
        for frame in source.decode(decoded):
            frame.pict_type = 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _ours(clip: Path, output: Path, preset: str) -> None:
    info = probe(clip)
    with VideoReader(clip, info) as reader, VideoWriter(output, info, preset=preset) as writer:
        for frame in reader:
            writer.write(frame)
        writer.commit()


if __name__ == "__main__":
    main()
