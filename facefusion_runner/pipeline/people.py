"""Who is put in, and who is replaced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from facefusion_runner.errors import NoFaceError, RunnerError
from facefusion_runner.faces.analysis import area, find_faces_of_still
from facefusion_runner.faces.selection import EveryFace, FacesByPosition, FacesLike, LargestFace, Selector
from facefusion_runner.faces.state import State
from facefusion_runner.faces.tracking import FaceTracker
from facefusion_runner.faces.types import Face, Picture, SourceFace
from facefusion_runner.media.pictures import read_picture
from facefusion_runner.pipeline.artifacts import Artifacts
from facefusion_runner.pipeline.networks import Networks
from facefusion_runner.pipeline.plan import Plan
from facefusion_runner.settings import Settings

# Share of the best score below which a face of a source may be something that only resembles one.
_CERTAIN: Final = 0.7


def prepare_source(plan: Plan, networks: Networks, artifacts: Artifacts) -> Any:
    """The sources in the form the generator takes.

    Raises NoFaceError naming the picture without a face.
    """
    embeds = bool(networks.generator.embedding_spaces)
    sources = [_largest_face(path, networks, embeds) for path in plan.sources]
    for number, source in enumerate(sources):
        if source.face.embedding is not None:
            artifacts.embedding(number, source.face.embedding)
    return networks.generator.prepare(sources)


def selector(settings: Settings, networks: Networks) -> Selector:
    """What the setting `select` asks for. Raises NoFaceError for a reference without a face."""
    if settings.select == "all":
        return EveryFace()
    if settings.select == "largest":
        return LargestFace()
    if settings.select == "reference":
        assert settings.reference is not None and networks.encoder is not None
        embedding = _largest_face(settings.reference, networks, embeds=True).face.embedding
        assert embedding is not None
        return FacesLike(networks.encoder, embedding, settings.reference_distance)
    return FacesByPosition(settings.select)


class Followed:
    """The faces of a film that are replaced, frame after frame."""

    def __init__(self, tracker: FaceTracker, selector: Selector) -> None:
        self._tracker = tracker
        self._selector = selector

    def find(self, picture: Picture, seconds: float) -> list[Face]:
        return self._selector.select(picture, measured(self._tracker.update(picture, seconds)))

    def state(self) -> State:
        """All that the next frame's answer depends on, for `restore`."""
        return [self._tracker.state(), self._selector.state()]

    def restore(self, state: State) -> None:
        tracker, selector = state
        self._tracker.restore(tracker)
        self._selector.restore(selector)


def measured(faces: list[Face]) -> list[Face]:
    """The faces as they are. Raises RunnerError when a network gave coordinates that are not numbers."""
    for face in faces:
        points = (face.detection.box, face.points, face.landmarks, face.mesh)
        if not all(each is None or np.isfinite(each).all() for each in points):
            raise RunnerError(
                "a network places a face at coordinates that are not numbers; half precision may be too "
                "small for it on this device: choose another --detector or --landmarker, or --device cpu"
            )
    return faces


def _largest_face(path: Path, networks: Networks, embeds: bool) -> SourceFace:
    picture = read_picture(path)
    faces = measured(find_faces_of_still(picture, networks.detector, networks.landmarker))
    if not faces:
        raise NoFaceError(f"no face was found in {path}")
    least = _CERTAIN * max(face.detection.score for face in faces)
    face = max((face for face in faces if face.detection.score >= least), key=area)
    if embeds:
        assert networks.encoder is not None
        face = replace(face, embedding=networks.encoder.embed(picture, [face.points])[0])
    return SourceFace(picture, face)
