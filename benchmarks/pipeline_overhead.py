"""What the pipeline without networks adds to a plain PyAV loop that decodes and encodes.

    python -m benchmarks.pipeline_overhead [--frames 150] [--preset veryfast] [--repeat 5]

Both decode and encode the same 1080p clip with the same encoder, preset, quality and threads. The
repetitions take turns, so that all meet the same machine. Prints the ratios of the medians: with stages
that only pass frames on, and with one face pasted into every frame.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from facefusion_runner.faces.types import Picture
from facefusion_runner.media.encoders import DEFAULT_QUALITY, ENCODERS
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.probe import HdrMetadata, probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.threads import Pipeline, Stage

WIDTH, HEIGHT = 1920, 1080

FACE = 400
"""Side in pixels of what is pasted."""


def main() -> None:
    teaching = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=teaching)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--repeat", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip, output = Path(folder) / "clip.mp4", Path(folder) / "out.mp4"
        make_clip(clip, chosen.frames)
        ways: dict[str, Callable[[], None]] = {
            "plain PyAV": lambda: plain(clip, output, chosen.preset),
            "pipeline": lambda: through_stages(clip, output, chosen.preset, untouched),
            "pipeline, one face pasted": lambda: through_stages(clip, output, chosen.preset, pasted),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(chosen.repeat):
            for name, way in ways.items():
                begun = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"{chosen.frames} frames of {WIDTH}x{HEIGHT}, x264 {chosen.preset}, median of {chosen.repeat}")
    for name, value in medians.items():
        print(f"{name:26} {value:7.2f} s   ratio {value / medians['plain PyAV']:.3f}")


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


def through_stages(
    clip: Path, output: Path, preset: str, work: Callable[[Channel[Frame]], Iterator[Frame]]
) -> None:
    """Three stages in threads of their own, as in a swap; the last of them does `work`."""
    info = probe(clip)
    works = {"analysis": untouched, "generation": untouched, "blending": work}
    with VideoReader(clip, info) as reader, VideoWriter(output, info, preset=preset) as writer:
        stages = [Stage(name, each, 3) for name, each in works.items()]
        Pipeline(reader, stages, writer.write, 3).run(threading.Event())
        writer.commit()


def untouched(frames: Channel[Frame]) -> Iterator[Frame]:
    yield from frames


def pasted(frames: Channel[Frame]) -> Iterator[Frame]:
    for frame in frames:
        face: Picture = np.asarray(frame.bgr[200 : 200 + FACE, 700 : 700 + FACE] ^ np.uint8(8))
        frame.paste(700, 200, face)
        yield frame


if __name__ == "__main__":
    main()
