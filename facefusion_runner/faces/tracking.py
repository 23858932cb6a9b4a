"""Follows faces from frame to frame, so that each keeps its number and its points do not jitter.

Faces are detected in every n-th frame. In between, and where the detector loses a face for a moment,
a face is moved by the optical flow inside its box. A new scene ends all tracks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from facefusion_runner.detectors import Detector
from facefusion_runner.faces import geometry
from facefusion_runner.faces.analysis import area, describe, find_faces
from facefusion_runner.faces.motion import ReducedFrame, flow, is_new_scene, reduce
from facefusion_runner.faces.smoothing import OneEuro
from facefusion_runner.faces.state import State
from facefusion_runner.faces.types import Detection, Face, Float, Landmarks, Matrix, Picture
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.landmarkers.schemes import of_mesh

# A face the detector no longer sees is followed for this long; a longer gap is a face that has gone.
_BRIDGED_SECONDS: Final = 0.2
# A face's box in the next frame overlaps its last one by at least this much.
_LEAST_OVERLAP: Final = 0.2
# A new face's five points by detector and by landmarker lie at most this far apart, in face sizes. Faces
# seen well have 0.05, turned and small ones up to 0.2, backs of heads 0.2 to 0.5.
_MOST_APART: Final = 0.22


@dataclass(slots=True, eq=False)
class _Track:
    number: int
    face: Face
    """As measured in the newest frame, not smoothed."""
    lost: float | None = None
    """Time in seconds of the frame in which the detector began to miss the face."""
    points: OneEuro = field(default_factory=OneEuro)
    dense: OneEuro = field(default_factory=OneEuro)
    """Of the mesh where there is one, else of the 68 landmarks."""

    def carry(self, move: Matrix) -> None:
        """The face moved like this since the last frame, as the optical flow saw it."""
        self.points.carry(move)
        self.dense.carry(move)

    def state(self) -> list[State]:
        face = self.face
        found = face.detection
        seen = [found.box, float(found.score), found.points]
        known = [face.points, face.landmarks, face.mesh, face.embedding, face.track]
        return [self.number, seen, known, self.lost, self.points.state(), self.dense.state()]

    @classmethod
    def restored(cls, state: list[State]) -> Self:
        number, seen, known, lost, points, dense = state
        face = Face(Detection(*seen), *known)
        return cls(number, face, lost, OneEuro.restored(points), OneEuro.restored(dense))

    def smoothed(self, seconds: float) -> Face:
        face, size = self.face, area(self.face) ** 0.5
        points = self.points(face.points, size, seconds)
        if face.mesh is not None:
            dense = of_mesh(self.dense(face.mesh, size, seconds))
        elif face.landmarks is not None:
            dense = Landmarks(self.dense(face.landmarks, size, seconds))
        else:
            return replace(face, points=points, track=self.number)
        return replace(face, points=points, landmarks=dense.points, mesh=dense.mesh, track=self.number)


class FaceTracker:
    """The faces of a video, frame after frame."""

    def __init__(self, detector: Detector, landmarker: Landmarker | None, detect_every: int = 1) -> None:
        self._detector = detector
        self._landmarker = landmarker
        self._detect_every = detect_every
        self._frames_since_detection = 0
        self._tracks: list[_Track] = []
        self._tracks_made = 0
        self._last: ReducedFrame | None = None
        self._time = 0.0

    def update(self, picture: Picture, time: float) -> list[Face]:
        """The faces of the next frame with their track numbers; `time` in seconds, rising.

        The faces that were there longest come first.
        """
        frame = reduce(picture)
        last = self._last
        if last is None or is_new_scene(last, frame):
            self._tracks.clear()
        if not (last and self._may_skip_detection() and self._follow_all(picture, last, frame)):
            self._detect(picture, last, frame, time)
        seconds = max(time - self._time, 1e-3)
        self._last, self._time = frame, time
        return [track.smoothed(seconds) for track in self._tracks]

    def state(self) -> State:
        """All that the next frame's answer depends on, for `restore`."""
        last = self._last
        return {
            "frames_since_detection": self._frames_since_detection,
            "tracks_made": self._tracks_made,
            "time": self._time,
            "last": None if last is None else [last.gray, last.scale],
            "tracks": [track.state() for track in self._tracks],
        }

    def restore(self, state: State) -> None:
        """Goes on where the tracker was that gave this state."""
        self._frames_since_detection = state["frames_since_detection"]
        self._tracks_made = state["tracks_made"]
        self._time = state["time"]
        self._last = None if state["last"] is None else ReducedFrame(*state["last"])
        self._tracks = [_Track.restored(track) for track in state["tracks"]]

    def _may_skip_detection(self) -> bool:
        if not self._tracks or any(track.lost is not None for track in self._tracks):
            return False
        return self._frames_since_detection + 1 < self._detect_every

    def _follow_all(self, picture: Picture, last: ReducedFrame, frame: ReducedFrame) -> bool:
        """Moves every track by its flow; False, and nothing moved, when one is lost."""
        moves = [flow(last, frame, track.face.detection.box) for track in self._tracks]
        found = [move for move in moves if move is not None]
        if len(found) < len(moves):
            return False
        self._move(picture, self._tracks, found)
        self._frames_since_detection += 1
        return True

    def _move(self, picture: Picture, tracks: Sequence[_Track], moves: Sequence[Matrix]) -> None:
        moved = [_moved(track.face.detection, move) for track, move in zip(tracks, moves, strict=True)]
        faces = describe(picture, moved, self._landmarker)
        for track, face, move in zip(tracks, faces, moves, strict=True):
            track.face = face
            track.carry(move)

    def _detect(self, picture: Picture, last: ReducedFrame | None, frame: ReducedFrame, time: float) -> None:
        faces = find_faces(picture, self._detector, self._landmarker)
        self._frames_since_detection = 0
        matches = _match([track.face for track in self._tracks], faces)
        kept: list[_Track] = []
        for index, track in enumerate(self._tracks):
            move = None if last is None else flow(last, frame, track.face.detection.box)
            if index in matches:
                if move is not None:
                    track.carry(move)
                track.face, track.lost = faces[matches[index]], None
                kept.append(track)
                continue
            track.lost = time if track.lost is None else track.lost
            if move is not None and time - track.lost < _BRIDGED_SECONDS:
                self._move(picture, [track], [move])
                kept.append(track)
        known = set(matches.values())
        for index, face in enumerate(faces):
            if index not in known and _landmarks_agree(face):
                kept.append(_Track(self._tracks_made, face))
                self._tracks_made += 1
        self._tracks = kept


def _landmarks_agree(face: Face) -> bool:
    """Whether the landmarks lie where the detector sees eyes, nose and mouth; true without landmarks.

    On the back of a head, or on a hand, each of the two networks imagines its own face.
    """
    if face.landmarks is None:
        return True
    apart = np.linalg.norm(face.points - face.detection.points, axis=1).mean()
    return bool(apart <= _MOST_APART * area(face) ** 0.5)


def _match(before: Sequence[Face], after: Sequence[Face]) -> dict[int, int]:
    """Index before → index after, the pairs that overlap most first."""
    pairs = sorted(
        (
            (overlap(old.detection.box, new.detection.box), i, j)
            for i, old in enumerate(before)
            for j, new in enumerate(after)
        ),
        reverse=True,
    )
    matches: dict[int, int] = {}
    for iou, i, j in pairs:
        if iou >= _LEAST_OVERLAP and i not in matches and j not in matches.values():
            matches[i] = j
    return matches


def overlap(a: Float, b: Float) -> float:
    """Intersection over union of two boxes (4,): left, top, right, bottom."""
    width = float(min(a[2], b[2]) - max(a[0], b[0]))
    height = float(min(a[3], b[3]) - max(a[1], b[1]))
    if width <= 0 or height <= 0:
        return 0.0
    both = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))
    return width * height / (both - width * height)


def _moved(detection: Detection, move: Matrix) -> Detection:
    left, top, right, bottom = detection.box
    # The box stays upright: its centre moves and its sides are scaled, a rotation does not widen it.
    centre = geometry.apply(move, np.array([[(left + right) / 2, (top + bottom) / 2]]))[0]
    half = np.array([right - left, bottom - top]) / 2 * geometry.scale_of(move)
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return replace(detection, box=box, points=geometry.apply(move, detection.points))
