"""Whose face is taken from a source picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest

from facefusion_runner.cache.task_cache import TaskCache
from facefusion_runner.faces.types import Detection, Picture, SourceFace
from facefusion_runner.media.probe import probe
from facefusion_runner.pipeline.artifacts import Artifacts
from facefusion_runner.pipeline.networks import Networks
from facefusion_runner.pipeline.people import prepare_source
from facefusion_runner.pipeline.plan import Plan
from tests.support.tiny_models import face_picture


class Found:
    """Says that there are faces of these widths and scores."""

    def __init__(self, *faces: tuple[float, float]) -> None:
        self.faces = faces

    def detect(self, picture: Picture) -> list[Detection]:
        return [
            Detection(np.array([0, 0, width, width], np.float32), score, np.zeros((5, 2), np.float32))
            for width, score in self.faces
        ]


class Taken:
    """A generator that gives back what it is prepared with."""

    embedding_spaces = ()
    most_sources = None

    def prepare(self, sources: Sequence[SourceFace]) -> Sequence[SourceFace]:
        return sources


@pytest.mark.parametrize(
    ("faces", "width"),
    [
        (((40, 0.9), (80, 0.8)), 80),
        (((40, 0.95), (120, 0.5)), 40),
        (((40, 0.5), (60, 0.45)), 60),
    ],
    ids=["the larger of two", "not a large thing that resembles one", "where no face is seen well"],
)
def test_the_largest_face_that_surely_is_one_is_taken(
    tmp_path: Path, faces: tuple[tuple[float, float], ...], width: float
) -> None:
    path = tmp_path / "source.png"
    cv2.imwrite(str(path), face_picture())
    networks = Networks(Found(*faces), None, None, cast(Any, Taken()), ())
    artifacts = Artifacts(cast(TaskCache, None))
    (source,) = prepare_source(Plan((path,), probe(path), tmp_path / "out.png"), networks, artifacts)
    assert source.face.detection.box[2] == width
