"""Which of a frame's faces are swapped. A face keeps its role for as long as it is tracked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from facefusion_runner.encoders import Encoder
from facefusion_runner.faces.analysis import area
from facefusion_runner.faces.state import State
from facefusion_runner.faces.types import Face, Float, Picture

# Another face must be this many times larger before it takes the role of the largest.
_LARGEST_MARGIN: Final = 1.5
# A track is embedded in its first views and then now and then: one view may be blurred or turned.
_FIRST_VIEWS: Final = 3
_VIEWS_BETWEEN: Final = 30


class Selector(Protocol):
    """Chooses faces, frame after frame."""

    def select(self, picture: Picture, faces: Sequence[Face]) -> list[Face]:
        """The faces to swap, out of `faces` found in `picture`."""
        ...

    def state(self) -> State:
        """All that the next choice depends on, for `restore`."""
        ...

    def restore(self, state: State) -> None:
        """Goes on where the selector was that gave this state."""
        ...


class EveryFace:
    """All faces."""

    def state(self) -> State:
        return None

    def restore(self, state: State) -> None:
        pass

    def select(self, picture: Picture, faces: Sequence[Face]) -> list[Face]:
        return list(faces)


class LargestFace:
    """The largest face. The role moves on only to a clearly larger one: two alike must not alternate."""

    def __init__(self) -> None:
        self._holder = -1

    def state(self) -> State:
        return self._holder

    def restore(self, state: State) -> None:
        self._holder = state

    def select(self, picture: Picture, faces: Sequence[Face]) -> list[Face]:
        if not faces:
            return []
        largest = max(faces, key=area)
        held = [face for face in faces if face.track == self._holder]
        chosen = held[0] if held and area(held[0]) * _LARGEST_MARGIN > area(largest) else largest
        self._holder = chosen.track
        return [chosen]


class FacesByPosition:
    """Faces by their place from left to right, 0 being the leftmost, when they were first seen."""

    def __init__(self, positions: Sequence[int]) -> None:
        self._wanted = frozenset(positions)
        self._positions: dict[int, int] = {}

    def state(self) -> State:
        return list(self._positions.items())

    def restore(self, state: State) -> None:
        self._positions = dict(state)

    def select(self, picture: Picture, faces: Sequence[Face]) -> list[Face]:
        present = {face.track for face in faces}
        self._positions = {track: position for track, position in self._positions.items() if track in present}
        taken = set(self._positions.values())
        ordered = sorted(faces, key=lambda face: float(face.detection.box[0] + face.detection.box[2]))
        for rank, face in enumerate(ordered):
            if face.track not in self._positions:
                position = rank
                while position in taken:
                    position += 1
                taken.add(position)
                self._positions[face.track] = position
        return [face for face in ordered if self._positions[face.track] in self._wanted]


class FacesLike:
    """The faces of one person, told by the encoder.

    `reference` is the person's embedding (D,); a face is that person when its cosine distance
    (1 - cosine similarity, 0 to 2) over the track's views so far is at most `distance`.
    """

    def __init__(self, encoder: Encoder, reference: Float, distance: float) -> None:
        self._encoder = encoder
        self._reference = normalised(reference)
        self._distance = distance
        self._views: dict[int, int] = {}
        self._sums: dict[int, Float] = {}

    def state(self) -> State:
        return [[track, views, self._sums.get(track)] for track, views in self._views.items()]

    def restore(self, state: State) -> None:
        self._views = {track: views for track, views, _ in state}
        self._sums = {track: total for track, _, total in state if total is not None}

    def select(self, picture: Picture, faces: Sequence[Face]) -> list[Face]:
        self._look_at(picture, faces)
        return [face for face in faces if self._distance_of(face.track) <= self._distance]

    def _look_at(self, picture: Picture, faces: Sequence[Face]) -> None:
        present = {face.track for face in faces}
        for gone in self._views.keys() - present:
            del self._views[gone], self._sums[gone]
        due = []
        for face in faces:
            view = self._views.get(face.track, 0)
            self._views[face.track] = view + 1
            if view < _FIRST_VIEWS or view % _VIEWS_BETWEEN == 0:
                due.append(face)
        if due:
            embeddings = self._encoder.embed(picture, [face.points for face in due])
            for face, embedding in zip(due, embeddings, strict=True):
                before = self._sums.get(face.track, np.zeros_like(embedding))
                self._sums[face.track] = before + normalised(embedding)

    def _distance_of(self, track: int) -> float:
        return 1.0 - float(normalised(self._sums[track]) @ self._reference)


def normalised(embedding: Float) -> Float:
    """The embedding (D,) at length 1; zero stays zero."""
    length = float(np.linalg.norm(embedding))
    return embedding / np.float32(length) if length > 0 else embedding
