"""Judges a landmarker on what it has not seen: portraits, renders, jittered crops, clips, and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import av
import click
import cv2
import numpy as np

from facefusion_runner.faces.geometry import similarity
from facefusion_runner.faces.types import Detection, Float, Picture
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.landmarkers.regression import load
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.session import SessionFactory
from training.data.labels import detect
from training.data.public_models import PublicModels
from training.data.renders import stored
from training.landmarker.data import BOX_SCALE, Seen, portrait_faces, render_faces
from training.landmarker.losses import LEFT_EYE, RIGHT_EYE

PARAMETERS: Final = {
    "scheme": "facemesh_468",
    "units": "unit",
    "box_scale": BOX_SCALE,
    "mean": [127.5, 127.5, 127.5],
    "std": [127.5, 127.5, 127.5],
}
"""The catalog's parameters of `face_mesh_468`."""
CLIPS: Final = (
    "friday_cc0.mp4", "henry8_5fps.mp4", "intel_asl_again.mkv", "intel_asl_brother.mkv", "intel_asl_eat.mkv",
    "intel_head-pose-face-detection-female.gif", "obama_address.mp4", "pexels_closeup.mp4",
)  # fmt: skip
_FRAMES: Final = 120
_BINS: Final = ((0, 180), (0, 30), (30, 60), (60, 90))
_KINDS: Final = ("error", "projected", "outer", "depth")

Mesh = Callable[[Picture, Detection], Float]
"""Finds the mesh (468, 3) of a detection in picture pixels."""


def figures(data: Path, work: Path, onnx_path: Path) -> dict[str, float]:
    """The figures of the model card, by name; FaceMesh's own beside them where there is a truth.

    Errors are mean distances of the 468 points in the picture ÷ the distance between the eyes' centres (each
    midway between its corners) measured in space, so that it does not shrink as the face turns; `projected`:
    the same as it is seen in the picture; `outer`: the distance between the eyes' outer corners in space.
    """
    ours = as_mesh(landmarker(onnx_path))
    teacher = as_mesh(PublicModels(data / "models").landmarker("facemesh_468"))
    found: dict[str, float] = {}
    portraits = list(portrait_faces(data, work, "held_out"))
    found["portraits"] = len(portraits)
    found |= _errors("portraits", ours, portraits)
    if stored(work, "held_out", "pictures").exists():
        renders = list(render_faces(data, work, "held_out"))
        found["renders"] = len(renders)
        found |= _errors("renders", ours, renders)
        found |= _errors("renders, FaceMesh", teacher, renders)
    some = portraits[::4]
    found["trembling under jittered boxes"] = jitter(ours, some)
    found["trembling under jittered boxes, FaceMesh"] = jitter(teacher, some)
    for name, (own, theirs, apart) in clips(data, (ours, teacher)).items():
        found[f"clip {name}: trembling"] = own
        found[f"clip {name}: trembling, FaceMesh"] = theirs
        found[f"clip {name}: from FaceMesh"] = apart
    found["milliseconds on 2 cores"] = milliseconds(onnx_path)
    return found


def landmarker(onnx_path: Path, threads: int = 2) -> Landmarker:
    """The family `regression` with this network, as the product opens it."""
    entry = ModelEntry.model_validate(
        {
            "id": "face_mesh_468", "role": "landmarker", "family": "regression", "file": onnx_path.name,
            "bytes": onnx_path.stat().st_size, "sha256": "0" * 64, "licence": "apache-2.0",
            "parameters": PARAMETERS,
        }
    )  # fmt: skip
    session = SessionFactory("cpu", threads=threads).open(entry, onnx_path)
    return load(entry, lambda _: session)


def as_mesh(network: Landmarker) -> Mesh:
    def mesh(picture: Picture, detection: Detection) -> Float:
        found = network.landmarks(picture, [detection])[0].mesh
        assert found is not None
        return found

    return mesh


def sizes(mesh: Float) -> tuple[float, float, float]:
    """Distance of the eyes' centres in space and as seen, and of their outer corners in space."""
    between = mesh[list(RIGHT_EYE)].mean(0) - mesh[list(LEFT_EYE)].mean(0)
    outer = mesh[RIGHT_EYE[1]] - mesh[LEFT_EYE[0]]
    return float(np.linalg.norm(between)), float(np.linalg.norm(between[:2])), float(np.linalg.norm(outer))


def _errors(name: str, network: Mesh, faces: Iterable[Seen]) -> dict[str, float]:
    rows, yaws = [], []
    for picture, detection, truth, yaw in faces:
        difference = network(picture, detection) - truth
        error = np.linalg.norm(difference[:, :2], axis=1).mean()
        depth = np.abs(difference[:, 2] - difference[:, 2].mean()).mean()
        space, seen, outer = sizes(truth)
        rows.append((error / space, error / seen, error / outer, depth / space))
        yaws.append(abs(yaw))
    errors, turned = np.array(rows), np.array(yaws)
    found = {f"{name}: share of faces beyond 0.1": float((errors[:, 0] > 0.1).mean())}
    for low, high in _BINS:
        chosen = (turned >= low) & (turned < high)
        part = name if high == 180 else f"{name}, yaw {low} to {high}"
        if chosen.any():
            means = errors[chosen].mean(0).tolist()
            found |= {f"{part}: {kind}": value for kind, value in zip(_KINDS, means, strict=True)}
    return found


def jitter(network: Mesh, faces: Sequence[Seen], views: int = 6) -> float:
    """Mean deviation of a point between crops of one picture whose boxes and points err as in a video."""
    rng = np.random.default_rng(0)
    found = []
    for picture, detection, truth, _ in faces:
        side = float((detection.box[2:] - detection.box[:2]).max())
        meshes = np.stack(
            [
                network(
                    picture,
                    Detection(
                        detection.box + rng.normal(0, 0.02 * side, 4).astype(np.float32),
                        detection.score,
                        detection.points + rng.normal(0, 0.01 * side, (5, 2)).astype(np.float32),
                    ),
                )[:, :2]
                for _ in range(views)
            ]
        )
        found.append(np.linalg.norm(meshes - meshes.mean(0), axis=2).mean() / sizes(truth)[0])
    return float(np.mean(found))


def clips(data: Path, networks: tuple[Mesh, Mesh]) -> dict[str, tuple[float, float, float]]:
    """Per clip: how much each network's points tremble, and how far apart the two are.

    Trembling: distance of a point from the mean of its places one frame before and after, when these
    neighbours are first laid on it by a similarity; median over frames of the mean over points ÷ the distance
    of the eyes' centres.
    """
    detector = PublicModels(data / "models").detector("yunet")
    found = {}
    lost = np.full((468, 3), np.nan, np.float32)
    for name in CLIPS:
        tracks: tuple[list[Float], list[Float]] = ([], [])
        for picture in frames(data / "media" / name):
            seen = detect(detector, picture)
            for track, network in zip(tracks, networks, strict=True):
                track.append(lost if seen is None else network(picture, seen))
        ours, theirs = (np.stack(track) for track in tracks)
        scale = np.array([sizes(mesh)[0] for mesh in theirs])
        apart = np.nanmean(np.linalg.norm((ours - theirs)[..., :2], axis=2).mean(1) / scale)
        found[name] = (_trembling(ours, scale), _trembling(theirs, scale), float(apart))
    return found


def _trembling(track: Float, scale: Float) -> float:
    values = []
    for i in range(1, len(track) - 1):
        before, here, after = track[i - 1 : i + 2, :, :2]
        if np.isnan(track[i - 1 : i + 2]).any():
            continue
        laid = [other @ (m := similarity(other, here))[:, :2].T + m[:, 2] for other in (before, after)]
        values.append(np.linalg.norm(here - (laid[0] + laid[1]) / 2, axis=1).mean() / scale[i])
    return float(np.median(values)) if values else float("nan")


def frames(path: Path, most: int = _FRAMES) -> Iterable[Picture]:
    """The first frames of a clip, BGR."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == most:
                return
            yield np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)


def milliseconds(onnx_path: Path, runs: int = 100) -> float:
    """Median time of one face, crop included, in ONNX Runtime with two threads."""
    network = landmarker(onnx_path)
    picture = np.full((360, 640, 3), 127, np.uint8)
    points = np.array([[300, 160], [340, 160], [320, 180], [305, 205], [335, 205]], np.float32)
    face = Detection(np.array([270, 120, 370, 240], np.float32), 1.0, points)
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        network.landmarks(picture, [face])
        spent.append(time.perf_counter() - began)
    return float(np.median(spent) * 1000)


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option(
    "--model",
    type=click.Path(exists=True, path_type=Path),
    default="facefusion_runner/models/builtin/face_mesh_468.onnx",
    show_default=True,
)
def main(data: Path, work: Path, model: Path) -> None:
    cv2.setNumThreads(0)
    for name, value in figures(data, work, model).items():
        click.echo(f"{name}: {value:.4g}")


if __name__ == "__main__":
    main()
