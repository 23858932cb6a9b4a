"""Figures of a detector on pictures and clips that no training saw, public detectors being the referees.

A face counts when at least three of the four referees see it. Sizes are square roots of boxes' areas in
pixels of the canvas that the networks see: the picture scaled to 640 pixels.
"""

from __future__ import annotations

import json
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import cv2
import numpy as np

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.errors import RunnerError
from facefusion_runner.faces.types import Detection, Float, Picture
from facefusion_runner.media.pictures import read_picture
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.models.catalog import BUILT_IN, FILE_NAME, ModelEntry
from facefusion_runner.models.families import load_detector
from facefusion_runner.models.session import SessionFactory
from training.data.backgrounds import faceless
from training.data.labels import Labels
from training.data.pictures import portraits
from training.data.public_models import PublicModels
from training.detector.data import face_box, face_points
from training.detector.export import WEIGHTS

REFEREES: Final = ("scrfd_2.5g", "scrfd_500m", "yolov5n_face", "yunet")
"""None of them is the teacher."""
AGREEING: Final = 3
FRAMES_PER_CLIP: Final = 14
_SIDE: Final = 640
_SAME: Final = 0.4
"""Overlap from which two boxes show the same face."""
_TEST_PICTURES: Final = "faces/test_images"
_SOLVAY: Final = "solvay1927"
_ID: Final = "retinaface_light"


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture and what the referees say about it."""

    name: str
    picture: Picture
    agreed: Float
    """(n, 4): boxes of faces that at least `AGREEING` referees see."""
    disputed: Float
    """(n, 4): boxes that fewer see."""


def figures(data: Path, work: Path, onnx_path: Path, score: float | None = None) -> dict[str, Any]:
    """All figures of the network at `onnx_path`, as plain numbers. score: None for the catalog's."""
    parameters = catalogued() if score is None else {**catalogued(), "score": score}
    detector = opened(onnx_path, parameters)
    result: dict[str, Any] = {"score": parameters["score"]}
    result.update(_against_referees(detector, scenes(data, work)))
    result.update(_on_faceless(detector, work))
    result.update(_on_portraits(detector, data, work))
    result["milliseconds_640x640_two_threads"] = _milliseconds(onnx_path, parameters)
    return result


def catalogued() -> dict[str, Any]:
    """What the catalog of built-in models says about the detector."""
    models = tomllib.loads((BUILT_IN / FILE_NAME).read_text())["models"]
    return next((dict(model["parameters"]) for model in models if model["id"] == _ID), {"score": 0.5})


def opened(onnx_path: Path, parameters: Mapping[str, Any], threads: int = 1, **options: Any) -> Detector:
    """The detector of family `retinaface` at a path, as the product runs it."""
    entry = ModelEntry(
        id=onnx_path.stem,
        role="detector",
        family="retinaface",
        file=onnx_path.name,
        licence="apache-2.0",
        bytes=onnx_path.stat().st_size,
        parameters=dict(parameters),
    )
    factory = SessionFactory("cpu", threads=threads)
    return load_detector(entry, lambda _: factory.open(entry, onnx_path), DetectorOptions(**options))


def scenes(data: Path, work: Path) -> list[Scene]:
    """Test pictures and frames of clips, judged by the referees; their answers are kept in `work`."""
    cache = work / "detector" / "referees.json"
    judged = json.loads(cache.read_text()) if cache.exists() else {}
    models = PublicModels(data / "models")
    found = []
    for name, picture in _pictures(data):
        if name not in judged:
            judged[name] = _judged(models, picture)
        agreed, disputed = (np.array(boxes, np.float32).reshape(-1, 4) for boxes in judged[name])
        found.append(Scene(name, picture, agreed, disputed))
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps(judged))
    return found


def _pictures(data: Path) -> Iterator[tuple[str, Picture]]:
    for path in sorted((data / _TEST_PICTURES).rglob("*.jpg")):
        yield path.name, read_picture(path)
    for path in sorted((data / "media").iterdir()):
        try:
            info = probe(path)
            total = info.frames or 120
            chosen = set(np.linspace(0, total - 1, FRAMES_PER_CLIP).astype(int).tolist())
            with VideoReader(path, info, threads=1) as reader:
                for number, frame in enumerate(reader):
                    if number in chosen:
                        yield f"{path.name} {number}", frame.bgr
        except RunnerError as damage:
            click.echo(f"{path.name} is left out from here on: {damage}", err=True)


def _judged(models: PublicModels, picture: Picture) -> tuple[list[list[float]], list[list[float]]]:
    """Boxes that enough referees agree on, and the others. A box is the mean of those that agree."""
    groups: list[list[tuple[str, Float]]] = []
    for referee in REFEREES:
        for face in models.detector(referee).detect(picture):
            overlaps = [
                0.0 if any(name == referee for name, _ in group) else overlap(face.box, group[0][1])
                for group in groups
            ]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= _SAME:
                groups[best].append((referee, face.box))
            else:
                groups.append([(referee, face.box)])
    means = [(len(group), np.mean([box for _, box in group], 0).tolist()) for group in groups]
    return (
        [box for count, box in means if count >= AGREEING],
        [box for count, box in means if count < AGREEING],
    )


def overlap(first: Float, second: Float) -> float:
    """Intersection over union of two boxes (4,)."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2])
    return shared / (float(areas) - shared)


def size_on_canvas(box: Float, picture: Picture) -> float:
    return float(np.sqrt(np.prod(box[2:] - box[:2]))) * _SIDE / max(picture.shape[:2])


def matched(faces: Sequence[Detection], agreed: Float) -> tuple[list[int], list[int]]:
    """Numbers of the agreed boxes that `faces` find, and of the faces that find none."""
    free, hits, stray = set(range(len(agreed))), [], []
    for number, face in enumerate(faces):
        best = max(free, key=lambda index: overlap(face.box, agreed[index]), default=-1)
        if best >= 0 and overlap(face.box, agreed[best]) >= _SAME:
            free.discard(best)
            hits.append(best)
        else:
            stray.append(number)
    return hits, stray


def _against_referees(detector: Detector, judged: Sequence[Scene]) -> dict[str, Any]:
    large, small, wrong, right, solvay = [0, 0], [0, 0], 0, 0, ""
    false: Counter[str] = Counter()
    for scene in judged:
        faces = detector.detect(scene.picture)
        hits, stray = matched(faces, scene.agreed)
        for index, box in enumerate(scene.agreed):
            size = size_on_canvas(box, scene.picture)
            counter = large if size >= 32 else small if size >= 16 else [0, 0]
            counter[0] += index in hits
            counter[1] += 1
        right += len(hits)
        doubted = [n for n in stray if any(overlap(faces[n].box, box) >= _SAME for box in scene.disputed)]
        wrong += len(stray) - len(doubted)
        false[scene.name.partition(" ")[0]] += len(stray) - len(doubted)
        if scene.name.startswith(_SOLVAY):
            solvay = f"{len(hits)} of {len(scene.agreed)}"
    return {
        "pictures": len(judged),
        "faces_32_px_and_more": large[1],
        "recall_32_px_and_more": large[0] / max(large[1], 1),
        "faces_16_to_32_px": small[1],
        "recall_16_to_32_px": small[0] / max(small[1], 1),
        "precision": right / max(right + wrong, 1),
        "false_faces": {name: count for name, count in false.items() if count},
        "solvay_1927": solvay,
    }


def _on_faceless(detector: Detector, work: Path) -> dict[str, Any]:
    pictures = faceless(work)
    return {
        "faceless_pictures": len(pictures),
        "found_in_faceless_pictures": sum(bool(detector.detect(picture)) for picture in pictures),
    }


def _on_portraits(detector: Detector, data: Path, work: Path, every: int = 3) -> dict[str, Any]:
    """Points on held-out portraits against those of their FaceMesh, and portraits cut to the face alone."""
    labels = Labels.load(work)
    known, rows = labels.of(portraits(data, "held_out"))
    errors, missed, filling, count = [], 0, 0, 0
    for portrait, row in list(zip(known, rows, strict=True))[::every]:
        picture, mesh = portrait.read(data), labels.meshes[row]
        wanted, box = face_points(mesh), face_box(mesh)
        faces = [face for face in detector.detect(picture) if overlap(face.box, box) >= _SAME]
        if faces:
            between = float(np.linalg.norm(wanted[1] - wanted[0]))
            errors.append(float(np.linalg.norm(faces[0].points - wanted, axis=1).mean()) / between)
        else:
            missed += 1
        left, top, right, bottom = np.clip(box, 0, [*picture.shape[1::-1]] * 2).astype(int)
        cut = np.ascontiguousarray(picture[top:bottom, left:right])
        whole = np.array([0, 0, cut.shape[1], cut.shape[0]], np.float32)
        filling += any(overlap(face.box, whole) >= 0.5 for face in detector.detect(cut))
        count += 1
    return {
        "portraits": count,
        "portraits_missed": missed,
        "points_mean_error": float(np.mean(errors)),
        "points_median_error": float(np.median(errors)),
        "faces_that_fill_the_picture_found": filling / count,
    }


def _milliseconds(onnx_path: Path, parameters: Mapping[str, Any]) -> float:
    """The fastest of 30 looks at 640x640, two threads, all of `detect` included."""
    detector = opened(onnx_path, parameters, threads=2)
    picture = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3)).astype(np.uint8)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        detector.detect(picture)
        times.append(time.perf_counter() - started)
    return 1000 * min(times)


def _drawn(detector: Detector, scene: Scene) -> Picture:
    picture = scene.picture.copy()
    for box in scene.agreed.astype(int):
        cv2.rectangle(picture, box[:2].tolist(), box[2:].tolist(), (255, 160, 0), 1)
    for face in detector.detect(scene.picture):
        left, top, right, bottom = (int(edge) for edge in face.box)
        cv2.rectangle(picture, (left, top), (right, bottom), (0, 255, 0), 2)
        cv2.putText(picture, f"{face.score:.2f}", (left, top - 2), 0, 0.45, (0, 255, 255), 1, cv2.LINE_AA)
        for x, y in face.points:
            cv2.circle(picture, (round(float(x)), round(float(y))), 2, (0, 0, 255), -1)
    return picture


@click.command(help="Prints the figures of a detector's weights as JSON; --sheet draws what it finds.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option("--weights", type=click.Path(exists=True, path_type=Path), default=WEIGHTS, show_default=True)
@click.option("--score", type=float, help="Smallest score of a face; by default the catalog's.")
@click.option("--sheet", type=click.Path(path_type=Path), help="A folder for pictures with the faces drawn.")
def main(data: Path, work: Path, weights: Path, score: float | None, sheet: Path | None) -> None:
    if sheet is not None:
        sheet.mkdir(parents=True, exist_ok=True)
        detector = opened(weights, catalogued() if score is None else {**catalogued(), "score": score})
        for scene in scenes(data, work):
            cv2.imwrite(str(sheet / f"{scene.name.replace(' ', '_')}.png"), _drawn(detector, scene))
    click.echo(json.dumps(figures(data, work, weights, score), indent=2))


if __name__ == "__main__":
    main()
