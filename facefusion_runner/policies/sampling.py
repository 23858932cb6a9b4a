"""What of a task the policies are shown."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from facefusion_runner.errors import InputError
from facefusion_runner.faces.types import Picture
from facefusion_runner.media.pictures import read_picture
from facefusion_runner.media.sampling import sample_frames
from facefusion_runner.pipeline.plan import Plan
from facefusion_runner.policies import Role, Sample
from facefusion_runner.settings import Settings

FRAMES: Final = 8
"""Of a video."""

LARGEST_SIDE: Final = 2048
"""Pixels; so all samples of a task fit into memory."""


def sample(settings: Settings, plan: Plan) -> list[Sample]:
    """All sources, the reference, and the target: a picture, or `FRAMES` frames of the part that is used.

    Raises InputError or MediaError for what cannot be decoded.
    """
    samples = [_sample("source", read_picture(path)) for path in plan.sources]
    if settings.reference is not None:
        samples.append(_sample("reference", read_picture(settings.reference)))
    if plan.target.kind == "picture":
        return [*samples, _sample("target", read_picture(plan.target.path))]
    frames = sample_frames(
        plan.target,
        FRAMES,
        trim_start=settings.trim_start,
        trim_end=settings.trim_end,
        threads=settings.threads,
    )
    shown = [_sample("target", picture, float(seconds)) for seconds, picture in frames]
    if not shown:
        raise InputError(f"{plan.target.path}: no frame lies between the times it is trimmed to")
    return [*samples, *shown]


def _sample(role: Role, picture: Picture, seconds: float = 0.0) -> Sample:
    height, width = picture.shape[:2]
    scale = LARGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    # What one policy does with it is not to change what the next one sees.
    picture = picture.view()
    picture.flags.writeable = False
    return Sample(role, picture, seconds)
