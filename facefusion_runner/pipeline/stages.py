"""The steps between decoding and encoding; each takes the items of the step before it and passes them on.

Coordinates of faces are those of the displayed picture (square pixels); crops are cut from, and pasted
into, the stored pixels by one transform that holds the pixel aspect as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from facefusion_runner.blending.label import labelled
from facefusion_runner.blending.paste import Blend, paste
from facefusion_runner.faces import geometry
from facefusion_runner.faces.analysis import square_pixels, to_square_pixels
from facefusion_runner.faces.state import State
from facefusion_runner.faces.types import Crop, Face, Generated, Mask, Picture
from facefusion_runner.generators import Generator
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.still import Still
from facefusion_runner.pipeline.artifacts import Artifacts
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.threads import Stopwatch

WAITING_FRAMES: Final = 3
"""How many frames may wait between two stages, and are generated together where no batch size is set. A
4K frame is 12 MB as YUV and 25 MB as BGR."""


@dataclass(slots=True)
class FrameTask:
    """A frame on its way, with what is known about it so far."""

    frame: Frame | Still
    faces: list[Face] = field(default_factory=list)
    """The faces to swap."""
    crops: list[Crop] = field(default_factory=list)
    generated: list[Generated] = field(default_factory=list)
    masks: list[Mask] = field(default_factory=list)
    """What of each generated face is taken."""
    state: State | None = None
    """Of the analysis before this frame, where a stretch of the film begins with it."""


class Analysis:
    """Finds, follows and selects faces."""

    def __init__(
        self,
        find: Callable[[Picture, float], list[Face]],
        state: Callable[[], State] | None = None,
        stretch: int = 0,
    ) -> None:
        """`find` takes a picture with square pixels and its time in seconds; `state` tells what it remembers.

        stretch: number of frames after which another stretch of the film begins; 0: it is one.
        """
        self._find = find
        self._state = state
        self._stretch = stretch
        self.watch = Stopwatch()

    def run(self, frames: Channel[Frame | Still]) -> Iterator[FrameTask]:
        for number, frame in enumerate(frames):
            with self.watch:
                task = FrameTask(frame)
                if number and self._stretch and self._state and frame.index % self._stretch == 0:
                    task.state = self._state()
                picture = square_pixels(frame.bgr, frame.pixel_aspect)
                task.faces = self._find(picture, float(frame.time))
            yield task


class Generation:
    """Cuts the crops and has the generator fill them, those of several frames at once."""

    def __init__(self, generator: Generator, source: Any, batch: int) -> None:
        """`batch`: most faces that are given to the generator together; 0: those of all frames at hand."""
        self._generator = generator
        self._source = source
        self._batch = batch
        self.watch = Stopwatch()

    def run(self, tasks: Channel[FrameTask]) -> Iterator[FrameTask]:
        while taken := tasks.take(self._batch or WAITING_FRAMES):
            with self.watch:
                for task in taken:
                    task.crops = [self._cut(task.frame, face) for face in task.faces]
                self._generate(taken)
            yield from taken

    def _cut(self, frame: Frame | Still, face: Face) -> Crop:
        generator = self._generator
        aligned = geometry.alignment(face.points, generator.template, generator.side)
        landmarks, mesh = (
            None if points is None else geometry.apply(aligned, points)
            for points in (face.landmarks, face.mesh)
        )
        matrix = aligned @ to_square_pixels(frame.bgr.shape[1], frame.pixel_aspect)
        return Crop(geometry.cut(frame.bgr, matrix, generator.side), matrix, landmarks, mesh)

    def _generate(self, tasks: Sequence[FrameTask]) -> None:
        crops = [crop for task in tasks for crop in task.crops]
        size = self._batch or max(len(crops), 1)
        generated: list[Generated] = []
        for start in range(0, len(crops), size):
            generated += self._generator.generate(crops[start : start + size], self._source)
        for task in tasks:
            task.generated, generated = generated[: len(task.crops)], generated[len(task.crops) :]


class Blending:
    """Puts the generated faces back into the frame, and the label where one is wanted."""

    def __init__(self, mode: Blend, artifacts: Artifacts, label: str = "") -> None:
        self._mode = mode
        self._label = label
        self._artifacts = artifacts
        self.watch = Stopwatch()

    def run(self, tasks: Channel[FrameTask]) -> Iterator[FrameTask]:
        for task in tasks:
            with self.watch:
                self._artifacts.before_blending(task)
                for crop, generated, mask in zip(task.crops, task.generated, task.masks, strict=True):
                    left, top, pixels = paste(task.frame.bgr, generated.pixels, mask, crop.matrix, self._mode)
                    if pixels.size:
                        task.frame.paste(left, top, pixels)
                if self._label:
                    task.frame.paste(*labelled(task.frame.bgr, self._label))
                self._artifacts.after_blending(task)
            yield task
