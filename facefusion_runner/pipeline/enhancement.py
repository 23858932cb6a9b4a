"""The step after masking: a network redraws the generated faces in finer detail."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.enhancers import Enhancer
from facefusion_runner.faces import geometry
from facefusion_runner.faces.analysis import to_square_pixels
from facefusion_runner.faces.types import Crop, Generated, Mask, Matrix, Picture
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.stages import FrameTask
from facefusion_runner.pipeline.threads import Stopwatch


class Enhancement:
    """Replaces crops, generated faces and masks by those in the enhancer's view."""

    def __init__(self, enhancer: Enhancer, weight: float) -> None:
        """weight: of the enhanced face, 0..1; the rest is the generated one."""
        self._enhancer = enhancer
        self._weight = weight
        self.watch = Stopwatch()

    def run(self, tasks: Channel[FrameTask]) -> Iterator[FrameTask]:
        for task in tasks:
            with self.watch:
                if task.crops:
                    self._enhance(task)
            yield task

    def _enhance(self, task: FrameTask) -> None:
        views = [self._view(task, number) for number in range(len(task.crops))]
        enhanced = self._enhancer.enhance(
            [
                self._shown(task.frame.bgr, view, *made)
                for view, made in zip(
                    views, zip(task.crops, task.generated, task.masks, strict=True), strict=True
                )
            ]
        )
        scale = geometry.enlargement(self._enhancer.scale)
        for number, (view, pixels) in enumerate(zip(views, enhanced, strict=True)):
            matrix, side = geometry.compose(scale, view), pixels.shape[0]
            crop, generated, mask = task.crops[number], task.generated[number], task.masks[number]
            onto = geometry.compose(matrix, geometry.invert(crop.matrix))
            before = _warped(generated.pixels, onto, side)
            mixed = cv2.addWeighted(pixels, self._weight, before, 1 - self._weight, 0)
            landmarks, mesh = (
                None if points is None else geometry.apply(onto, points)
                for points in (crop.landmarks, crop.mesh)
            )
            task.crops[number] = Crop(geometry.cut(task.frame.bgr, matrix, side), matrix, landmarks, mesh)
            task.masks[number] = _warped_mask(mask, onto, side)
            task.generated[number] = Generated(np.asarray(mixed, np.uint8), task.masks[number])

    def _view(self, task: FrameTask, number: int) -> Matrix:
        """Picture pixels to those of what the enhancer is shown."""
        template, side = self._enhancer.template, self._enhancer.side
        if template is None or side is None:
            return task.crops[number].matrix
        aligned = geometry.alignment(task.faces[number].points, template, side)
        return aligned @ to_square_pixels(task.frame.bgr.shape[1], task.frame.pixel_aspect)

    def _shown(self, picture: Picture, view: Matrix, crop: Crop, generated: Generated, mask: Mask) -> Picture:
        """The generated face, within the target where the enhancer sees more than the generator made."""
        side = self._enhancer.side
        if view is crop.matrix or side is None:
            return generated.pixels
        onto = geometry.compose(view, geometry.invert(crop.matrix))
        return alpha(
            geometry.cut(picture, view, side),
            _warped(generated.pixels, onto, side),
            _warped_mask(mask, onto, side),
        )


def _warped(pixels: Picture, onto: Matrix, side: int) -> Picture:
    # The edge goes on, so that nothing black is mixed in under a mask that is full up to there.
    how = cv2.INTER_CUBIC if geometry.scale_of(onto) > 1 else cv2.INTER_LINEAR
    warped = cv2.warpAffine(pixels, onto, (side, side), flags=how, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(warped, np.uint8)


def _warped_mask(mask: Mask, onto: Matrix, side: int) -> Mask:
    return np.asarray(cv2.warpAffine(mask, onto, (side, side), flags=cv2.INTER_LINEAR), np.uint8)
