"""Varied pictures without a face: photographs, paintings and patterns, and cut-out things.

They come from packages of the Debian archive that hold wallpapers and stickers, from the pictures inside
scikit-image's wheel, and from formulas. `python -m training.data.backgrounds --work build` fetches them with
`apt-get download`; nothing is installed. Two kinds share no picture: "train", and "evaluation", which no
network learns from.
"""

from __future__ import annotations

import importlib.util
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from facefusion_runner.faces.types import Picture

BackgroundSplit = Literal["train", "evaluation"]
SPLITS: Final[tuple[BackgroundSplit, ...]] = ("train", "evaluation")
PACKAGES: Final = (
    "gnome-backgrounds",
    "lomiri-wallpapers-16.04",
    "lomiri-wallpapers-20.04",
    "mate-backgrounds",
    "mypaint-data-extras",
    "plasma-workspace-wallpapers",
    "tuxpaint-stamps-default",
    "ukui-wallpapers",
)
_STICKERS: Final = "tuxpaint"
_NO_STICKERS: Final = ("symbols/faces", "symbols/money", "people", "cartoon")
_SKIMAGE: Final = (
    *("brick", "cell", "chelsea", "clock_motion", "coffee", "color", "grass", "gravel"),
    *("hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket", "text"),
)
_IN_TRAINING: Final = ("chelsea", "the-mouse")
"""Too good a lesson to be in the other half: eyes, nose and mouth of an animal."""
_WITH_PEOPLE: Final = (
    *("friends_by_Aitzol_Berasategi", "seasonal_Santa", "seasonal_German_Christmas_toy"),
    *("christmas_Santa", "christmas_German_Christmas_toy"),
)
_LONGER_SIDE: Final = 1280
FACELESS: Final = 240
"""How many pictures without a face `faceless` gives."""


@dataclass(frozen=True, slots=True, eq=False)
class Backgrounds:
    """Pictures without a face, in memory."""

    pictures: Sequence[Picture]
    cutouts: Sequence[NDArray[np.uint8]]
    """(h, w, 4) uint8 BGRA: things, hands, animals, with their silhouette in the last channel."""

    def sample(self, rng: np.random.Generator, height: int, width: int) -> Picture:
        """A part of a picture, mirrored or turned at times, or a pattern; (height, width, 3) uint8 BGR."""
        if rng.random() < 0.2:
            return pattern(rng, height, width)
        return self.photograph(rng, height, width)

    def photograph(self, rng: np.random.Generator, height: int, width: int) -> Picture:
        """As `sample`, from pictures alone."""
        picture = self.pictures[int(rng.integers(len(self.pictures)))]
        fits = min(picture.shape[0] / height, picture.shape[1] / width)
        zoom = float(np.exp(rng.uniform(np.log(0.35), 0))) * fits
        tall, wide = max(int(height * zoom), 1), max(int(width * zoom), 1)
        top = int(rng.integers(picture.shape[0] - tall + 1))
        left = int(rng.integers(picture.shape[1] - wide + 1))
        part = picture[top : top + tall, left : left + wide]
        way = cv2.INTER_AREA if zoom > 1.8 else cv2.INTER_LINEAR
        part = np.asarray(cv2.resize(part, (width, height), interpolation=way), np.uint8)
        if rng.random() < 0.5:
            part = part[:, ::-1]
        if rng.random() < 0.1:
            part = part[::-1]
        return np.ascontiguousarray(part)

    def cutout(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """One of the cut-out things, mirrored at times."""
        thing = self.cutouts[int(rng.integers(len(self.cutouts)))]
        return np.ascontiguousarray(thing[:, ::-1] if rng.random() < 0.5 else thing)


def backgrounds(work: Path, split: BackgroundSplit) -> Backgrounds:
    """The pictures of one half, from `work`/backgrounds; fetches and sorts them the first time."""
    folder = work / "backgrounds"
    if not (folder / "evaluation.npz").exists():
        _prepare(folder)
    with np.load(folder / f"{split}.npz") as stored:
        names = sorted(stored.files)
        pictures = [stored[name] for name in names if name.startswith("picture")]
        cutouts = [stored[name] for name in names if name.startswith("cutout")]
    return Backgrounds(pictures, cutouts)


def faceless(work: Path, count: int = FACELESS, height: int = 480, width: int = 640) -> list[Picture]:
    """The same `count` pictures without a face each time, parts of those that no network learns from.

    One in six holds a cut-out thing (animals, hands, fruit) in front.
    """
    rng = np.random.default_rng(20)
    source = backgrounds(work, "evaluation")
    chosen = []
    for number in range(count):
        picture = source.photograph(rng, height, width)
        if number % 6 == 0:
            picture = laid_on(rng, picture, source.cutout(rng), float(rng.uniform(0.3, 0.9)))
        chosen.append(picture)
    return chosen


def laid_on(rng: np.random.Generator, picture: Picture, thing: NDArray[np.uint8], size: float) -> Picture:
    """The picture with a cut-out thing somewhere on it, its length `size` of the picture's shorter side."""
    scale = size * min(picture.shape[:2]) / max(thing.shape[:2])
    wide, tall = (max(round(side * scale), 2) for side in thing.shape[1::-1])
    small = cv2.resize(thing, (wide, tall), interpolation=cv2.INTER_AREA)
    top = int(rng.integers(max(picture.shape[0] - tall, 0) + 1))
    left = int(rng.integers(max(picture.shape[1] - wide, 0) + 1))
    small = small[: picture.shape[0] - top, : picture.shape[1] - left]
    result = picture.copy()
    part = result[top : top + small.shape[0], left : left + small.shape[1]]
    alpha = small[..., 3:].astype(np.float32) / 255
    part[:] = np.asarray(small[..., :3] * alpha + part * (1 - alpha), np.uint8)
    return result


def pattern(rng: np.random.Generator, height: int, width: int) -> Picture:
    """A picture by formula: clouds of noise, stripes, a slope of colour, or shapes."""
    kind = rng.integers(4)
    colours = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    if kind == 0:
        field = np.zeros((height, width), np.float32)
        for octave in range(1, 7):
            grid = rng.standard_normal((2**octave + 1, 2**octave + 1), np.float32)
            smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
            field += np.asarray(smooth, np.float32) / np.float32(1.6**octave)
        share = 1 / (1 + np.exp(-2 * field))
    else:
        y, x = np.mgrid[:height, :width].astype(np.float32)
        angle, period = rng.uniform(0, np.pi), rng.uniform(4, 120)
        along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
        if kind == 1:
            share = 0.5 + 0.5 * np.sign(np.sin(along * np.float32(2 * np.pi / period)))
        elif kind == 2:
            share = (along - along.min()) / max(float(np.ptp(along)), 1)
        else:
            share = np.full_like(x, 0.5)
    picture = colours[0] + (colours[1] - colours[0]) * share[..., np.newaxis]
    result = np.asarray(np.clip(picture + rng.normal(0, 1) * 6, 0, 255), np.uint8)
    if kind == 3:
        for _ in range(int(rng.integers(4, 30))):
            colour = tuple(int(level) for level in rng.integers(0, 256, 3))
            centre = int(rng.integers(width)), int(rng.integers(height))
            axes = tuple(int(a) for a in rng.integers(2, max(min(height, width) // 4, 4), 2))
            turn = float(rng.uniform(0, 360))
            if rng.random() < 0.6:
                cv2.ellipse(result, centre, axes, turn, 0, 360, colour, -1, cv2.LINE_AA)
            else:
                corners = cv2.boxPoints((centre, axes, turn)).astype(np.int32)
                cv2.fillPoly(result, [corners], colour, cv2.LINE_AA)
    return result


def _prepare(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[BackgroundSplit, dict[str, NDArray[np.uint8]]] = {split: {} for split in SPLITS}
    for file in _files(_unpacked(folder)):
        kind = "cutout" if _STICKERS in file.parts else "picture"
        pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.dtype != np.uint8 or min(pixels.shape[:2]) < 96:
            continue
        array = _cutout(pixels) if kind == "cutout" else _picture(pixels)
        if array is not None:
            split = _split(file)
            arrays[split][f"{kind}_{len(arrays[split]):04d}_{_name(file)}"] = array
    for split in SPLITS:
        np.savez(folder / f"{split}.npz", **arrays[split])  # type: ignore[arg-type]


def _unpacked(folder: Path) -> Path:
    files = folder / "files"
    if not files.exists():
        subprocess.run(["apt-get", "download", "-q", *PACKAGES], cwd=folder, check=True)
        for package in sorted(folder.glob("*.deb")):
            subprocess.run(["dpkg", "-x", str(package), str(folder / "unpacked")], check=True)
            package.unlink()
        (folder / "unpacked").rename(files)
    return files


def _files(root: Path) -> Iterator[Path]:
    """Each picture once, though a wallpaper lies in its package in several sizes."""
    seen = set()
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in {".jpg", ".png", ".webp"})
    for path in sorted(found, key=lambda path: -path.stat().st_size):
        name = _name(path)
        unwanted = _STICKERS in path.parts and any(part in str(path) for part in _NO_STICKERS)
        if path.is_symlink() or name in seen or name in _WITH_PEOPLE or unwanted:
            continue
        seen.add(name)
        yield path
    spec = importlib.util.find_spec("skimage")
    if spec is not None and spec.origin is not None:
        for name in _SKIMAGE:
            yield from (Path(spec.origin).parent / "data").glob(f"{name}.*")


def _name(path: Path) -> str:
    """One name for all sizes and shades of a picture."""
    parts = path.parts
    if "contents" in parts:
        return parts[parts.index("contents") - 1]
    if _STICKERS in parts:
        return "_".join(path.with_suffix("").parts[-2:])
    stem = path.stem
    return stem[:-2] if stem.endswith(("-l", "-d")) else stem.partition("_5640")[0].partition("_3840")[0]


def _split(path: Path) -> BackgroundSplit:
    name = _name(path)
    return SPLITS[0] if name in _IN_TRAINING else SPLITS[zlib.crc32(name.encode()) % 2]


def _picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(_fitted(pixels[..., :3], _LONGER_SIDE))


def _cutout(pixels: NDArray[Any]) -> NDArray[np.uint8] | None:
    """None for what is no photograph-like thing with a silhouette."""
    if pixels.ndim != 3 or pixels.shape[2] != 4 or not 0.1 < (pixels[..., 3] > 128).mean() < 0.95:
        return None
    inside = pixels[pixels[..., 3] > 128][:, :3]
    if len(np.unique(inside // 16, axis=0)) < 20:
        return None
    return np.ascontiguousarray(_fitted(pixels, 320))


def _fitted(pixels: NDArray[Any], longer: int) -> NDArray[np.uint8]:
    scale = longer / max(pixels.shape[:2])
    if scale < 1:
        size = round(pixels.shape[1] * scale), round(pixels.shape[0] * scale)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(pixels, np.uint8)


@click.command(help="Fetches the backgrounds into WORK/backgrounds and draws a sheet of each half.")
@click.option("--work", type=click.Path(path_type=Path), default="build", show_default=True)
def main(work: Path) -> None:
    for split in SPLITS:
        source = backgrounds(work, split)
        click.echo(f"{split}: {len(source.pictures)} pictures, {len(source.cutouts)} cut-out things")
        rng = np.random.default_rng(0)
        tiles = [_tile(picture) for picture in source.pictures]
        tiles += [_tile(laid_on(rng, np.full((96, 128, 3), 200, np.uint8), c, 1)) for c in source.cutouts]
        rows = [np.hstack(tiles[i : i + 16]) for i in range(0, len(tiles) // 16 * 16, 16)]
        cv2.imwrite(str(work / "backgrounds" / f"{split}.png"), np.vstack(rows))


def _tile(picture: Picture) -> Picture:
    return np.asarray(cv2.resize(picture, (128, 96), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    main()
