"""The portraits that the networks learn from, and those that judge them.

Three collections below `DATA/faces`: `sfhq256`, synthetic faces (SFHQ and SFHQ-T2I, MIT); `house512` and
`congress225x275`, official portraits of members of the United States Congress (public domain).

Held out, and seen by no network before it is judged, are every person of `genuine_pairs.json` with both
pictures, and every tenth synthetic face.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np

from facefusion_runner.faces.types import Picture

Split = Literal["train", "held_out"]
Collection = Literal["sfhq256", "house512", "congress225x275"]

COLLECTIONS: Final[tuple[Collection, ...]] = ("sfhq256", "house512", "congress225x275")
LEFT_OUT: Final = Path(__file__).with_name("left_out.txt")


@dataclass(frozen=True, slots=True)
class Portrait:
    """One picture of one person."""

    file: str
    """Below `DATA/faces`, with / between folders."""
    collection: Collection
    person: str
    """The same for two pictures that are known to show one person."""
    split: Split

    def path(self, data: Path) -> Path:
        return data / "faces" / self.file

    def read(self, data: Path) -> Picture:
        """(h, w, 3) uint8, BGR."""
        picture = cv2.imread(str(self.path(data)), cv2.IMREAD_COLOR)
        if picture is None:
            raise FileNotFoundError(f"{self.path(data)} is no picture that can be read")
        return np.asarray(picture, np.uint8)


def portraits(data: Path, split: Split | None = None, *, generative: bool = False) -> list[Portrait]:
    """The portraits below `data`, in a fixed order.

    split: None for both. generative: leave out what a network that makes faces must not learn from,
    pictures that look like children or do not show one whole face (`left_out.txt`).
    """
    persons = _persons(data)
    skipped = left_out() if generative else frozenset[str]()
    found = []
    for collection in COLLECTIONS:
        for path in sorted((data / "faces" / collection).glob("*.jpg")):
            file = f"{collection}/{path.name}"
            held = file in persons or (collection == "sfhq256" and zlib.crc32(path.name.encode()) % 10 == 0)
            portrait = Portrait(file, collection, persons.get(file, file), "held_out" if held else "train")
            if portrait.split == (split or portrait.split) and file not in skipped:
                found.append(portrait)
    return found


def genuine_pairs(data: Path) -> list[tuple[str, str]]:
    """Files of the same person in two different pictures."""
    pairs = json.loads((data / "faces" / "genuine_pairs.json").read_text())
    return [(pair["a"], pair["b"]) for pair in pairs]


def left_out() -> frozenset[str]:
    """The files of `left_out.txt`: one per line, a # begins a remark."""
    lines = (line.partition("#")[0].strip() for line in LEFT_OUT.read_text().splitlines())
    return frozenset(f"sfhq256/{line}" for line in lines if line)


def _persons(data: Path) -> dict[str, str]:
    """The person of each picture of `genuine_pairs.json`: named like the first picture."""
    return {file: pair[0] for pair in genuine_pairs(data) for file in pair}
