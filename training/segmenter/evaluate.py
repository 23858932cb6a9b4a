"""The figures of the segmenter's card, all on what it has not learned from: held-out portraits and clips.

`python -m training.segmenter.evaluate` prints them and draws two sheets to be looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import av
import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.geometry import alignment, cut
from facefusion_runner.faces.types import Float, Picture
from facefusion_runner.landmarkers.schemes import SCHEMES, five_points
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import load_segmenter
from facefusion_runner.models.session import SessionFactory
from facefusion_runner.segmenters import CLASSES, GLASSES, OCCLUDER, SKIN, Segmenter
from training.data.labels import detect, face_mesh
from training.data.public_models import PublicModels
from training.segmenter.data import OCCLUDERS, Mix, Portraits
from training.segmenter.network import MEAN, SIDE, STD

CLEAN: Final = Mix(occluder=0, glasses=0, strands=0, shade=0, turn=0, photometric=0)
ROUNDS: Final = 160
"""Composites of each kind."""

CLIPS: Final = {
    "intel_asl_again.mkv": 4,
    "intel_asl_brother.mkv": 4,
    "intel_asl_eat.mkv": 3,
    "pexels_closeup.mp4": 12,
    "friday_cc0.mp4": 14,
    "obama_address.mp4": 60,
}
"""Every how many frames a clip is looked at."""

COLOURS: Final = np.float32([[0, 0, 0], [0, 160, 0], [0, 0, 220], [0, 255, 255], [255, 0, 255]])
"""BGR of each class on a sheet."""

Truth = NDArray[np.intp]


def segmenter(onnx_path: Path, threads: int = 1) -> Segmenter:
    """The file's network as the product loads it."""
    values = {"classes": CLASSES, "side": SIDE, "mean": (MEAN,) * 3, "std": (STD,) * 3}
    table = {"id": onnx_path.stem, "role": "segmenter", "family": "face_parts", "file": onnx_path.name}
    entry = ModelEntry.model_validate({**table, "licence": "apache-2.0", "parameters": values})
    session = SessionFactory("cpu", threads=threads).open(entry, onnx_path)
    return load_segmenter(entry, lambda _: session)


def figures(data: Path, work: Path, onnx_path: Path) -> dict[str, Any]:
    """Shares of 1 unless the name says otherwise; at the network's own 128 pixels."""
    network, held_out = segmenter(onnx_path), Portraits(data, work, "held_out")
    return {
        "portraits_iou": _portraits(network, held_out),
        "false_occluder": _false_occluder(network, held_out),
        "composites": {name: _composites(network, held_out, name) for name, _, _ in OCCLUDERS},
        "drawn_glasses": _drawn_glasses(network, held_out),
        "changed_by_jitter": _jitter(network, held_out),
        "milliseconds": _milliseconds(onnx_path),
        "bytes": onnx_path.stat().st_size,
    }


def _portraits(network: Segmenter, held_out: Portraits) -> dict[str, float]:
    """Intersection over union against the teacher's classes."""
    common, either = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for picture, truth, weight, _ in _clean(held_out):
        found = network.segment([picture])[0].argmax(0)
        for number in range(len(CLASSES)):
            a, b = (found == number) & (weight > 0.5), (truth == number) & (weight > 0.5)
            common[number] += np.count_nonzero(a & b)
            either[number] += np.count_nonzero(a | b)
    return {name: float(common[i] / either[i]) for i, name in enumerate(CLASSES) if i != OCCLUDER}


def _false_occluder(network: Segmenter, held_out: Portraits) -> dict[str, float]:
    """What is called an occluder inside faces before which nothing was drawn.

    Some of the portraits do show hands and things: the portraits marked are to be looked at.
    """
    marked, faces, whole = 0, 0, []
    for picture, _, _, mesh in _clean(held_out):
        inside = np.zeros((SIDE, SIDE), np.uint8)
        cv2.fillConvexPoly(inside, cv2.convexHull(np.rint(mesh[:, :2]).astype(np.int32)), 1)
        found = (network.segment([picture])[0, OCCLUDER] > 0.5) & (inside > 0)
        marked, faces = marked + int(found.sum()), faces + int(inside.sum())
        whole.append(found.sum() / max(int(inside.sum()), 1))
    return {"pixels": marked / faces, "portraits_above_1_percent": float(np.mean(np.array(whole) > 0.01))}


def _composites(network: Segmenter, held_out: Portraits, kind: str) -> dict[str, float]:
    """Occluders of one kind against what was drawn, inside the whole crop."""
    rng = np.random.default_rng(17)
    mix = Mix(occluder=1.0, second=0.0, photometric=0.7)
    samples = [held_out.sample(rng, mix, only=kind) for _ in range(ROUNDS)]
    return _scores(network, [(p, t[..., OCCLUDER] > 0.5) for p, t, _ in samples], OCCLUDER)


def _drawn_glasses(network: Segmenter, held_out: Portraits) -> dict[str, float]:
    rng = np.random.default_rng(18)
    mix = Mix(occluder=0.0, glasses=1.0, strands=0.0, photometric=0.7)
    samples = [held_out.sample(rng, mix) for _ in range(ROUNDS)]
    # Portraits with glasses of their own have pixels of weight 0, and no drawn ones.
    return _scores(network, [(p, t[..., GLASSES] > 0.5) for p, t, w in samples if w.all()], GLASSES)


def _scores(
    network: Segmenter, pairs: list[tuple[Picture, NDArray[np.bool_]]], number: int
) -> dict[str, float]:
    common = found = true = 0
    for picture, truth in pairs:
        marked = network.segment([picture])[0].argmax(0) == number
        common, found, true = (
            common + int((marked & truth).sum()),
            found + int(marked.sum()),
            true + int(truth.sum()),
        )
    return {
        "iou": common / max(found + true - common, 1),
        "precision": common / max(found, 1),
        "recall": common / max(true, 1),
    }


def _jitter(network: Segmenter, held_out: Portraits) -> float:
    """Share of the face's pixels that change class when the crop moves by half a pixel and grows by 0.5 %."""
    rng = np.random.default_rng(19)
    changed = []
    for row in range(0, len(held_out), 5):
        kept = held_out.taught.pictures[row]
        still, moved = _crop(kept), _crop(kept, rng.normal(0, 0.5, 2), 1 + rng.normal(0, 0.005))
        a, b = network.segment([still, moved])
        skin = a[SKIN] > 0.02
        changed.append(float((a.argmax(0) != b.argmax(0))[skin].mean()) if skin.any() else 0.0)
    return float(np.mean(changed))


def _crop(kept: Picture, shift: NDArray[np.floating] | None = None, scale: float = 1.0) -> Picture:
    """The aligned crop of 256 pixels from a kept picture of 1.2 times its field."""
    factor = 1.2 * scale
    offset = (256 - 256 * factor) / 2 + (0 if shift is None else shift * 2)
    m = np.column_stack([np.eye(2) * factor, np.broadcast_to(offset, 2)])
    return np.asarray(cv2.warpAffine(kept, m, (256, 256)), np.uint8)


def _milliseconds(onnx_path: Path) -> dict[str, float]:
    """Of one crop of 256 pixels: on two threads the fastest of many, and a core's time on one."""
    crop = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    network, spent = segmenter(onnx_path, 2), []
    for _ in range(100):
        began = time.perf_counter()
        network.segment([crop])
        spent.append(time.perf_counter() - began)
    network, began = segmenter(onnx_path, 1), time.process_time()
    for _ in range(50):
        network.segment([crop])
    return {"two_threads": min(spent) * 1e3, "one_core": (time.process_time() - began) / 50 * 1e3}


def _clean(held_out: Portraits) -> Iterator[tuple[Picture, Truth, Float, Float]]:
    rng = np.random.default_rng(0)
    for row in range(len(held_out)):
        picture, truth, weight, mesh = held_out.turned(rng, row, CLEAN.turn)
        yield picture.astype(np.uint8), truth.argmax(2), weight, mesh


def painted(crop: Picture, maps: Float) -> Picture:
    """The crop beside itself in the colours of its classes; background stays as it is."""
    tint = np.einsum("chw,cb->hwb", maps, COLOURS)
    shown = 0.5 * maps[0] + (1 - maps[0]) * 0.35
    shown = crop * (shown + 0.5 * maps[0])[..., None] + tint * 0.65
    return np.hstack([crop, np.clip(shown, 0, 255).astype(np.uint8)])


def clip_crops(data: Path) -> Iterator[tuple[str, Picture]]:
    """Crops (256, 256, 3) of the largest face from frames of CLIPS, and where each is from."""
    models = PublicModels(data / "models")
    detector, mesh = models.detector("yunet"), models.open("facemesh_468")
    for name, every in CLIPS.items():
        with av.open(str(data / "media" / name)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if number % every:
                    continue
                picture = frame.to_ndarray(format="bgr24")
                found = detect(detector, picture)
                if found is not None:
                    points = face_mesh(mesh, picture, found)
                    five = five_points(SCHEMES["facemesh_468"].to_68(points[:, :2]))
                    yield f"{name} {number}", cut(picture, alignment(five, "ffhq_512", 256), 256)


def sheet(tiles: list[Picture], columns: int) -> Picture:
    """Tiles of one size in rows."""
    empty = np.zeros_like(tiles[0])
    tiles = tiles + [empty] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


@click.command()
@click.option("--data", type=click.Path(exists=True, path_type=Path), default="../shared", show_default=True)
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
@click.option(
    "--weights",
    type=click.Path(exists=True, path_type=Path),
    default="facefusion_runner/models/builtin/face_segmentation.onnx",
    show_default=True,
)
def main(data: Path, work: Path, weights: Path) -> None:
    """Print the segmenter's figures as JSON; draw WORK/segmenter/clips.png and portraits.png."""
    network = segmenter(weights)
    tiles = [_named(painted(crop, network.segment([crop])[0]), name) for name, crop in clip_crops(data)]
    cv2.imwrite(str(work / "segmenter" / "clips.png"), sheet(tiles, 6))
    held_out = Portraits(data, work, "held_out")
    crops = [_crop(held_out.taught.pictures[row]) for row in range(3, len(held_out), len(held_out) // 60)]
    tiles = [painted(crop, maps) for crop, maps in zip(crops, network.segment(crops), strict=True)]
    cv2.imwrite(str(work / "segmenter" / "portraits.png"), sheet(tiles[:60], 6))
    click.echo(json.dumps(figures(data, work, weights), indent=1))


def _named(tile: Picture, name: str) -> Picture:
    cv2.putText(tile, name, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return tile


if __name__ == "__main__":
    main()
