"""What a worker does besides whole tasks: it looks at what was uploaded."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from facefusion_runner.detectors import DetectorOptions
from facefusion_runner.errors import ConfigError, InputError
from facefusion_runner.faces.analysis import find_faces_of_still, square_pixels
from facefusion_runner.faces.types import Face, Picture
from facefusion_runner.media.pictures import read_picture
from facefusion_runner.media.probe import MediaInfo, probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.models.catalog import Role
from facefusion_runner.models.families import load_detector
from facefusion_runner.models.session import SessionOpener
from facefusion_runner.models.store import open_models
from facefusion_runner.pipeline.plan import make_plan
from facefusion_runner.policies.examination import examine, require_consent
from facefusion_runner.settings import Settings
from facefusion_runner.tasks.formats import OUTPUT_FORMATS

_SUFFIX: Final = {
    **{"mp4": ".mp4", "matroska": ".mkv", "gif": ".mp4"},
    **{"jpeg": ".jpg", "png": ".png", "webp": ".webp"},
}
"""Of the output, by the target's container."""

_THUMBNAIL_SIDE: Final = 224
_MARGIN: Final = 0.4
"""Around the face's box, as a share of it: a detector must find the face in the thumbnail again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a target may have at most."""

    pixels: int
    seconds: float


def inspect(
    given: dict[str, Any], folder: Path, target: str, output_format: str | None, limits: Limits
) -> dict[str, Any]:
    """What an uploaded target is, and what its output will be called; raises what a task would fail with,
    and PolicyError.

    `given` are the task's settings but for its output, as `Settings` takes them.
    """
    for source in (*given["source"], *filter(None, [given.get("reference")])):
        probe(Path(source), limits.pixels)
    info = probe(folder / target, limits.pixels)
    if info.duration is not None and info.duration > limits.seconds:
        raise InputError(
            f"{target} is {float(info.duration):.0f} s long; {limits.seconds:g} s are the most that is taken"
        )
    if output_format is not None and output_format not in OUTPUT_FORMATS[info.kind]:
        fitting = ", ".join(OUTPUT_FORMATS[info.kind])
        raise ConfigError(
            f"options: output_format = {output_format!r}: {target} is a {info.kind}; say one of {fitting}"
        )
    output = "result" + (f".{output_format}" if output_format else _SUFFIX[info.container])
    settings = Settings(**given, output=folder / output)
    plan = make_plan(settings)
    _check_models(settings)
    require_consent(settings)
    verdicts = [asdict(verdict) for verdict in examine(settings, plan)]
    return {"target": described(info), "output": output, "verdicts": verdicts}


_MODELS: Final[dict[str, Role]] = {
    "detector": "detector",
    "landmarker": "landmarker",
    "encoder": "encoder",
    "generator": "generator",
    "occlusion_model": "mask",
    "region_model": "mask",
    "enhancer": "enhancer",
}
"""Roles of the models that settings name."""


def _check_models(settings: Settings) -> None:
    """Raises ModelError or LicenceError for a model that is named and cannot be used; opens none."""
    catalog, store = open_models(settings)
    for setting, role in _MODELS.items():
        name = getattr(settings, setting)
        if name not in ("auto", None):
            entry = catalog.resolve(role, name, store)
            if entry.file:
                store.path(entry)


def described(info: MediaInfo) -> dict[str, Any]:
    """What the API tells of a target."""
    return {
        "kind": info.kind,
        "width": info.width,
        "height": info.height,
        "frames": info.estimated_frames,
        "duration": None if info.duration is None or info.kind == "picture" else float(info.duration),
    }


def find_faces(
    settings: Settings, path: Path, seconds: float, opener: SessionOpener, max_pixels: int
) -> dict[str, Any]:
    """The faces of a picture, or of the frame that a film shows at `seconds`, from left to right."""
    catalog, store = open_models(settings)

    def session(model_id: str) -> Any:
        entry = catalog.get(model_id)
        return opener.open(entry, store.path(entry))

    detector = load_detector(
        catalog.resolve("detector", settings.detector, store),
        session,
        DetectorOptions(settings.detect_size, settings.detect_score, settings.detect_nms),
    )
    picture = _still(path, seconds, max_pixels)
    faces = find_faces_of_still(picture, detector, None)
    faces.sort(key=lambda face: float(face.detection.box[0] + face.detection.box[2]))
    height, width = picture.shape[:2]
    return {
        "width": width,
        "height": height,
        "faces": [_shown(picture, face, index) for index, face in enumerate(faces)],
    }


def _still(path: Path, seconds: float, max_pixels: int) -> Picture:
    info = probe(path, max_pixels)
    if info.kind == "picture":
        return read_picture(path)
    if info.duration is not None and seconds > info.duration:
        raise InputError(f"time: {path} is {float(info.duration):g} s long; {seconds:g} s is after its end")
    with VideoReader(path, info, trim_start=Fraction(seconds).limit_denominator(1000)) as reader:
        frame = next(iter(reader), None)
        if frame is None:
            raise InputError(f"time: {path} shows nothing at {seconds:g} s")
        return square_pixels(frame.bgr, frame.pixel_aspect)


def _shown(picture: Picture, face: Face, index: int) -> dict[str, Any]:
    detection = face.detection
    return {
        "index": index,
        "box": [round(float(value), 1) for value in detection.box],
        "points": [[round(float(x), 1), round(float(y), 1)] for x, y in detection.points],
        "score": round(float(detection.score), 4),
        "thumbnail": _thumbnail(picture, detection.box),
    }


def _thumbnail(picture: Picture, box: np.ndarray[Any, Any]) -> str:
    left, top, right, bottom = box
    half = (0.5 + _MARGIN) * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    height, width = picture.shape[:2]
    x0, y0 = max(int(x - half), 0), max(int(y - half), 0)
    x1, y1 = min(int(x + half) + 1, width), min(int(y + half) + 1, height)
    crop = picture[y0:y1, x0:x1]
    scale = min(_THUMBNAIL_SIDE / max(crop.shape[:2]), 1.0)
    if scale < 1:
        crop = np.asarray(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()
