"""The step between generation and blending: which pixels of a generated face are taken."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from facefusion_runner.blending.masks import box_mask, combine, hull_mask, network_mask
from facefusion_runner.faces import geometry
from facefusion_runner.faces.analysis import to_square_pixels
from facefusion_runner.faces.types import Crop, Generated, Mask
from facefusion_runner.maskers import Masker
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.stages import FrameTask
from facefusion_runner.pipeline.threads import Stopwatch

_RIM: Final = 0.03
"""Width of the soft edge of a crop whose generator made a mask of its own, in units of the crop's side."""


@dataclass(frozen=True, slots=True)
class MaskOptions:
    """Which masks are combined, by minimum, with the generator's own."""

    kinds: tuple[str, ...]
    """Of `box`, `hull`; none: the generator's own mask alone, the box where it has none."""
    feather: float
    """Width of the soft edge in units of the crop's side."""
    padding: tuple[float, float, float, float]
    """Cut off the box at the top, right, bottom and left, in units of the crop's side."""
    occlusion: Masker | None = None
    """Keeps what is in front of the target's face."""
    region: Masker | None = None
    """Keeps all but `regions` of the target's face."""
    regions: tuple[str, ...] = ()


class Masking:
    """Gives every generated face its mask."""

    def __init__(self, options: MaskOptions) -> None:
        self._options = options
        maskers = ((options.occlusion, ()), (options.region, options.regions))
        self._maskers = [(masker, regions) for masker, regions in maskers if masker is not None]
        self.watch = Stopwatch()

    def run(self, tasks: Channel[FrameTask]) -> Iterator[FrameTask]:
        for task in tasks:
            with self.watch:
                masks = [self._drawn(*of_face) for of_face in zip(task.crops, task.generated, strict=True)]
                for masker, regions in self._maskers:
                    for parts, seen in zip(masks, _seen(task, masker, regions), strict=True):
                        parts.append(seen)
                task.masks = [combine(parts) for parts in masks]
            yield task

    def _drawn(self, crop: Crop, generated: Generated) -> list[Mask]:
        """The masks that no network is needed for."""
        options, side = self._options, crop.pixels.shape[0]
        # A mask that is full up to the crop's edge would end there in a line.
        masks = [] if generated.mask is None else [generated.mask, box_mask(side, feather=_RIM)]
        kinds = options.kinds or (() if masks else ("box",))
        if "box" in kinds:
            masks.append(box_mask(side, options.padding, options.feather))
        if "hull" in kinds:
            assert crop.landmarks is not None
            masks.append(hull_mask(crop.landmarks, side, options.feather))
        return masks


def _seen(task: FrameTask, masker: Masker, regions: tuple[str, ...]) -> list[Mask]:
    """What a network lets be replaced of each face, in the pixels of the generator's crops."""
    frame, side = task.frame, masker.side
    displayed = to_square_pixels(frame.bgr.shape[1], frame.pixel_aspect)
    views = [geometry.alignment(face.points, masker.template, side) @ displayed for face in task.faces]
    weights = masker.weights([geometry.cut(frame.bgr, view, side) for view in views], regions)
    return [
        network_mask(one, geometry.compose(crop.matrix, geometry.invert(view)), crop.pixels.shape[0])
        for one, view, crop in zip(weights, views, task.crops, strict=True)
    ]
