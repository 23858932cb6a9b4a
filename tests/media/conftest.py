"""What the tests of reading and writing share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from facefusion_runner.media.frame import Frame
from facefusion_runner.media.probe import MediaInfo, probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter


@dataclass
class Rewritten:
    """A clip that went through the reader and the writer, with nothing in between."""

    path: Path
    info: MediaInfo
    source: MediaInfo
    times: list[Fraction]
    warnings: list[str]


Rewrite = Callable[..., Rewritten]


@pytest.fixture
def rewrite(tmp_path: Path) -> Rewrite:
    """Call it with a clip and the name of the output; the rest goes to the reader (trim_start, trim_end,
    fps) and the writer (encoder, quality, preset); `look` is called with every frame."""

    def run(
        source: Path,
        name: str = "output.mp4",
        *,
        look: Callable[[Frame], Any] | None = None,
        preset: str = "ultrafast",
        trim_start: Fraction | None = None,
        trim_end: Fraction | None = None,
        fps: Fraction | None = None,
        **writing: Any,
    ) -> Rewritten:
        info = probe(source)
        output = tmp_path / name
        times: list[Fraction] = []
        with (
            VideoReader(source, info, trim_start=trim_start, trim_end=trim_end, fps=fps, threads=2) as reader,
            VideoWriter(
                output,
                info,
                preset=preset,
                time_base=reader.time_base,
                rate=fps,
                start=reader.start,
                end=reader.end,
                **writing,
            ) as writer,
        ):
            for frame in reader:
                times.append(frame.time)
                if look is not None:
                    look(frame)
                writer.write(frame)
            writer.commit()
            warnings = [*reader.warnings, *writer.warnings]
        return Rewritten(output, probe(output), info, times, warnings)

    return run
