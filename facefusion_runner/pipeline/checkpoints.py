"""Finished stretches of a film in the task's cache, from which a task that was killed goes on.

A stretch's file holds its encoded packets and what the analysis remembered at its end: the film that comes
of it is, frame for frame, the one that would have come without the crash.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import numpy as np

from facefusion_runner import __version__
from facefusion_runner.faces.state import State, flatten, unflatten
from facefusion_runner.media.packets import Packets
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.settings import Cache, Messages, Policy, Settings

STRETCH_SECONDS: Final = 10
"""Of the film; so much work is lost at most."""

_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """The end of a stretch."""

    frames: int
    """How many the film has had until here."""
    faces: int
    """How many have been swapped in them."""
    state: State
    """Of the analysis, before the next frame."""
    packets: Packets
    """Of this stretch."""


class Checkpoints:
    """The checkpoints of one task, in a folder of its cache."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        """`fingerprint` tells tasks apart whose films would differ, see `fingerprint`."""
        self._folder = folder
        self._fingerprint = fingerprint
        self._next = 0

    def earlier(self) -> Iterator[Checkpoint]:
        """Those of a run that was cut short, up to the first that is missing, damaged, or of another task."""
        while (found := self._read(self._path(self._next))) is not None:
            self._next += 1
            yield found

    def add(self, checkpoint: Checkpoint) -> None:
        """Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        text, arrays = flatten(checkpoint.state)
        path = self._path(self._next)
        aside = path.with_suffix(".partial")
        with aside.open("wb") as file:
            values = {
                "fingerprint": np.array(self._fingerprint),
                "counts": np.array([checkpoint.frames, checkpoint.faces]),
                "state": np.array(text),
                "data": checkpoint.packets.data,
                "sizes": checkpoint.packets.sizes,
                "times": checkpoint.packets.times,
                "keys": checkpoint.packets.keys,
                "time_base": np.array(checkpoint.packets.time_base.as_integer_ratio()),
                **{f"array_{number}": array for number, array in enumerate(arrays)},
            }
            np.savez(file, allow_pickle=False, **values)
        os.replace(aside, path)
        self._next += 1

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.npz"

    def _read(self, path: Path) -> Checkpoint | None:
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["fingerprint"]) != self._fingerprint:
                    return None
                arrays = [stored[f"array_{n}"] for n in range(sum(n.startswith("array_") for n in stored))]
                frames, faces = stored["counts"].tolist()
                data, sizes, times, keys = (stored[name] for name in ("data", "sizes", "times", "keys"))
                packets = Packets(data, sizes, times, keys, Fraction(*stored["time_base"].tolist()))
                return Checkpoint(frames, faces, unflatten(str(stored["state"]), arrays), packets)
        except _DAMAGE:
            return None


def fingerprint(settings: Settings, models: Sequence[ModelEntry]) -> str:
    """Of all that decides what the film looks like: the settings, the files, the networks, this program."""
    sections = (Policy, Cache, Messages)
    elsewhere = {name for section in sections for name in section.model_fields}
    elsewhere |= {"overwrite", "task_id", "output", "model_root"}
    files = [path for path in (*settings.source, settings.target, settings.reference) if path is not None]
    about = {
        "version": __version__,
        "settings": settings.model_dump(mode="json", exclude=elsewhere),
        "container": settings.output.suffix if settings.output is not None else None,
        "files": [[status.st_size, status.st_mtime_ns] for status in (path.stat() for path in files)],
        "models": sorted(f"{entry.id} {entry.sha256} {entry.parameters}" for entry in models),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
