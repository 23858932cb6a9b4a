"""A first look: swaps faces between two pictures that come with the dependencies, and in a film made of one.

The portrait is that of the astronaut Eileen Collins (NASA, in the public domain) from scikit-image; the group
comes with InsightFace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from insightface.data import get_image
from skimage.data import astronaut

from facefusion_runner.errors import Cancelled, InputError, StorageError
from facefusion_runner.faces.types import Picture
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.pictures import read_picture, write_picture
from facefusion_runner.media.probe import Colour, MediaInfo
from facefusion_runner.media.writer import VideoWriter, check_output
from facefusion_runner.pipeline.run import swap
from facefusion_runner.progress import Meter, Progress, Reporter
from facefusion_runner.settings import Encoding, Faces, Settings, Stretch
from facefusion_runner.signals import Stop

FRAMES: Final = 100
RATE: Final = Fraction(25)
SIZE: Final = (960, 540)
"""Width and height of the film."""

PERSON: Final = (slice(190, 450), slice(400, 660))
"""Rows and columns of the group's person whose face goes the other way."""

_HEAD: Final = (slice(0, 280), slice(84, 364))
"""Rows and columns of the portrait's head."""
_GUESTS: Final = (slice(80, 520), slice(0, 700))
"""Rows and columns of the group that the sheet shows."""

_BT709: Final = Colour(primaries=1, transfer=1, matrix=1, range=1)
_QUALITY: Final = 95
_GAP: Final = 8
_SHEET_WIDTH: Final = 1280


@dataclass(frozen=True, slots=True)
class Files:
    """What is made, by its role."""

    portrait: Path
    person: Path
    group: Path
    film: Path
    portrait_swapped: Path
    group_swapped: Path
    film_swapped: Path
    sheet: Path

    @classmethod
    def within(cls, folder: Path) -> Files:
        return cls(
            portrait=folder / "portrait.jpg",
            person=folder / "person.jpg",
            group=folder / "group.jpg",
            film=folder / "film.mp4",
            portrait_swapped=folder / "portrait-swapped.jpg",
            group_swapped=folder / "group-swapped.jpg",
            film_swapped=folder / "film-swapped.mp4",
            sheet=folder / "before-after.jpg",
        )

    def by_role(self) -> dict[str, Path]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, slots=True)
class Result:
    """What the demo did."""

    files: Files
    faces: int
    """Faces that were swapped, summed over pictures and frames."""


def run(settings: Settings, folder: Path, reporter: Reporter, stop: Stop) -> Result:
    """Makes `folder` and fills it; each swap is a task of its own, with a cache of its own.

    Raises InputError before any work when a file is already there and is not to be replaced, and what
    `swap` raises; then nothing is there that was not there before.
    """
    files, made = Files.within(folder), not folder.exists()
    _make(folder)
    for path in files.by_role().values():
        check_output(path, [], settings.overwrite)
    there = [path for path in files.by_role().values() if path.exists()]
    try:
        return Result(files, _fill(files, _plain(settings), reporter, stop))
    except BaseException:
        for path in files.by_role().values():
            if path not in there:
                path.unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _fill(files: Files, settings: Settings, reporter: Reporter, stop: Stop) -> int:
    """Writes everything; the number of faces that were swapped."""
    group = get_image("t1")
    portrait = np.ascontiguousarray(astronaut()[:, :, ::-1])  # type: ignore[no-untyped-call]
    write_picture(files.portrait, portrait, _QUALITY)
    write_picture(files.group, group, _QUALITY)
    write_picture(files.person, np.ascontiguousarray(group[PERSON]), _QUALITY)

    def put(source: Path, target: Path, output: Path) -> int:
        task = settings.model_copy(update={"source": (source,), "target": target, "output": output})
        return swap(task, _Named(reporter, output.name), stop).faces

    faces = put(files.person, files.portrait, files.portrait_swapped)
    faces += put(files.portrait, files.group, files.group_swapped)
    _write_film(files.film, group, _Named(reporter, files.film.name), stop)
    faces += put(files.portrait, files.film, files.film_swapped)
    write_picture(files.sheet, before_after(files), _QUALITY, provenance=settings.provenance)
    return faces


def _plain(settings: Settings) -> Settings:
    """The settings without those that are meant for a user's own files."""
    defaults = Settings()
    names = (name for section in (Stretch, Faces, Encoding) for name in section.model_fields)
    return settings.model_copy(update={name: getattr(defaults, name) for name in names})


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(f"{folder} is no folder; name another with --output") from None
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be made: {error.strerror}") from None


def _write_film(path: Path, picture: Picture, reporter: Reporter, stop: Stop) -> None:
    width, height = SIZE
    film = MediaInfo(
        path, "video", "mp4", "h264", "yuv420p", width, height, 8, False,
        rate=RATE, time_base=1 / RATE, colour=_BT709,
    )  # fmt: skip
    meter = Meter(reporter, "drawing", FRAMES)
    with VideoWriter(path, film, new=True) as writer:
        for index, view in enumerate(pan_and_zoom(picture)):
            if stop.is_set():
                raise Cancelled("the demo was cancelled")
            writer.write(Frame.of_picture(view, index=index, time=index / RATE, duration=1 / RATE))
            meter.advance()
        writer.commit()


def pan_and_zoom(picture: Picture) -> Iterator[Picture]:
    """`FRAMES` views of `SIZE`: slowly from the picture's left to its right and nearer."""
    width, height = SIZE
    for t in np.linspace(0, 1, FRAMES):
        moved = (1 - np.cos(np.pi * t)) / 2
        across = picture.shape[1] * (0.70 - 0.12 * t)
        scale = width / across
        left = moved * (picture.shape[1] - across)
        top = 0.02 * picture.shape[0]
        # From the centre of one pixel to that of another: both pictures begin half a pixel before it.
        shift = (0.5 * scale - 0.5 - scale * left, 0.5 * scale - 0.5 - scale * top)
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        view = cv2.warpAffine(
            picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        yield np.asarray(view, np.uint8)


def before_after(files: Files) -> Picture:
    """A row per picture: source, target and result side by side around the faces, the rows equally wide."""
    person, portrait, group = (read_picture(path) for path in (files.person, files.portrait, files.group))
    portrait_swapped, group_swapped = map(read_picture, (files.portrait_swapped, files.group_swapped))
    first = _row([person, portrait[_HEAD], portrait_swapped[_HEAD]])
    second = _row([portrait[_HEAD], group[_GUESTS], group_swapped[_GUESTS]])
    return np.vstack([first, np.full((_GAP, _SHEET_WIDTH, 3), 255, np.uint8), second])


def _row(pictures: Sequence[Picture]) -> Picture:
    """Pictures side by side, all of one height, together as wide as the sheet."""
    shapes = [picture.shape[1] / picture.shape[0] for picture in pictures]
    room = _SHEET_WIDTH - _GAP * (len(pictures) - 1)
    height = round(room / sum(shapes))
    ends = np.rint(np.cumsum(shapes) * room / sum(shapes)).astype(int)
    widths = np.diff(ends, prepend=0)
    row = np.full((height, _SHEET_WIDTH, 3), 255, np.uint8)
    for number, (picture, end, width) in enumerate(zip(pictures, ends, widths, strict=True)):
        left = end - width + _GAP * number
        row[:, left : left + width] = cv2.resize(picture, (int(width), height), interpolation=cv2.INTER_AREA)
    return row


class _Named:
    """A reporter that says which of several tasks a stage belongs to."""

    def __init__(self, reporter: Reporter, name: str) -> None:
        self._reporter = reporter
        self._name = name

    def progress(self, event: Progress) -> None:
        self._reporter.progress(replace(event, stage=f"{self._name}: {event.stage}"))

    def warning(self, message: str) -> None:
        self._reporter.warning(message)

    def close(self) -> None:
        """The reporter is closed by whoever made it."""
