"""What each stage does with what it is given."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from facefusion_runner.faces.types import Crop, Detection, Face, Generated
from facefusion_runner.media.still import Still
from facefusion_runner.pipeline.channel import Channel
from facefusion_runner.pipeline.stages import FrameTask, Generation
from facefusion_runner.pipeline.threads import Pipeline, Stage
from tests.support.tiny_models import face_picture

POINTS = np.array([[150, 100], [170, 100], [160, 115], [152, 130], [168, 130]], np.float32)


class Mirror:
    """Gives each crop back mirrored and notes how many came together."""

    template = "arcface_128"
    side = 64
    needs_landmarks = False
    embedding_spaces = ()
    most_sources = None

    def __init__(self) -> None:
        self.together: list[int] = []

    def prepare(self, sources: Sequence[Any]) -> None:
        return None

    def generate(self, crops: Sequence[Crop], source: None) -> list[Generated]:
        self.together.append(len(crops))
        return [Generated(crop.pixels[:, ::-1].copy()) for crop in crops]


def frame_with(count: int) -> FrameTask:
    faces = []
    for number in range(count):
        points = POINTS + np.float32(number)
        box = np.array([*points.min(axis=0), *points.max(axis=0)], np.float32)
        faces.append(Face(Detection(box, 0.9, points), points))
    return FrameTask(Still(face_picture()), faces)


@pytest.mark.parametrize(("batch", "most"), [(1, 1), (4, 4), (0, 100)])
def test_no_more_faces_than_the_batch_size_go_through_the_generator_together(batch: int, most: int) -> None:
    generator, tasks, out = Mirror(), [frame_with(n) for n in (0, 5, 1, 0, 7, 2)], []
    generation = Generation(generator, None, batch)
    Pipeline(tasks, [Stage("generation", generation.run, 3)], out.append, 3).run(threading.Event())

    assert [len(task.generated) for task in out] == [0, 5, 1, 0, 7, 2]
    assert sum(generator.together) == 15 and max(generator.together) <= most
    for task in out:
        for crop, made in zip(task.crops, task.generated, strict=True):
            assert np.array_equal(made.pixels, crop.pixels[:, ::-1])


def test_a_batch_reaches_over_as_many_frames_as_are_at_hand() -> None:
    generator, waiting = Mirror(), Channel[FrameTask](8)
    for _ in range(8):
        waiting.put(frame_with(1))
    waiting.close()
    assert len(list(Generation(generator, None, 8).run(waiting))) == 8
    assert generator.together == [8]
