"""What a task will do, checked before it does anything that takes time."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from facefusion_runner.errors import ConfigError, InputError, StorageError
from facefusion_runner.media.credentials import MEDIA_TYPES, Credentials
from facefusion_runner.media.pictures import SUFFIXES
from facefusion_runner.media.probe import MediaInfo, probe
from facefusion_runner.media.writer import VideoWriter, check_output
from facefusion_runner.models.families import needs_source
from facefusion_runner.models.store import open_models
from facefusion_runner.settings import Settings


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of a task, known to be usable."""

    sources: tuple[Path, ...]
    """Empty where the generator needs none, as the person is in its weights."""
    target: MediaInfo
    output: Path
    credentials: Credentials | None = None
    """What the output is signed with."""


def make_plan(settings: Settings) -> Plan:
    """Raises InputError, ConfigError or StorageError naming the first thing that cannot work.

    Whether sources are missing or would be ignored is known here where the generator's family says so, and
    else when the generator is loaded (`check_sources`).
    """
    if settings.target is None:
        raise InputError("no target: name a video or picture with --target or TARGET")
    if settings.output is None:
        raise InputError("no output: name the file to write with --output or OUTPUT")
    needs_source = _needs_source(settings)
    if needs_source is not None:
        check_sources(settings.source, settings.generator, None if needs_source else 0)
    for source in settings.source:
        _check_picture(source, "source")
    inputs = [settings.target, *settings.source]
    if settings.reference is not None:
        _check_picture(settings.reference, "reference")
        inputs.append(settings.reference)
    target = probe(settings.target)
    check_output(settings.output, inputs, settings.overwrite)
    if (settings.output.suffix.lower() in SUFFIXES) != (target.kind == "picture"):
        raise InputError(f"{settings.output} cannot hold a {target.kind}; {target.path} is one")
    _check_stretch(settings, target)
    if target.kind == "video":
        _check_encoding(settings, settings.output, target)
    _check_space(settings, settings.output, target)
    return Plan(settings.source, target, settings.output, _credentials(settings, settings.output))


def check_sources(sources: Sequence[Path], generator: str, most: int | None) -> None:
    """Raises InputError for sources that are missing, or that the generator would ignore.

    most: as `Generator.most_sources`.
    """
    given = len(sources)
    if most == 0 and given:
        raise InputError(
            f"generator {generator} needs no source, as the person is in its weights; leave --source out"
        )
    if most != 0 and not given:
        raise InputError(
            f"generator {generator} needs a source: name a picture of the face to put in with --source or "
            "SOURCE"
        )
    if most is not None and given > most:
        raise InputError(f"generator {generator} takes one source picture, not {given}; name the best one")


def _needs_source(settings: Settings) -> bool | None:
    """Raises ModelError or ConfigError for a generator that no catalog knows, or a catalog at fault."""
    catalog, store = open_models(settings)
    return needs_source(catalog.resolve("generator", settings.generator, store))


def _check_picture(path: Path, role: str) -> None:
    if probe(path).kind != "picture":
        raise InputError(f"{role} {path} is a video; name a picture")


def _check_stretch(settings: Settings, target: MediaInfo) -> None:
    wanted = (settings.trim_start, settings.trim_end, settings.fps)
    if target.kind == "picture" and any(setting is not None for setting in wanted):
        raise InputError(f"trimming and another frame rate need a video, but {target.path} is a picture")
    start = settings.trim_start or Fraction(0)
    if target.duration is not None and start >= target.duration:
        raise InputError(
            f"the start of {float(start):g} s lies behind the end of {target.path}, "
            f"which is {float(target.duration):.2f} s long"
        )


def _check_encoding(settings: Settings, output: Path, target: MediaInfo) -> None:
    """Raises InputError or ConfigError for an encoder, preset or size that the output cannot have."""
    # A writer opens nothing before its block is entered.
    VideoWriter(
        output, target, encoder=settings.video_encoder, quality=settings.quality, preset=settings.preset
    )


def _credentials(settings: Settings, output: Path) -> Credentials | None:
    """Raises ConfigError for what cannot sign, and for an output that cannot hold a manifest."""
    if settings.c2pa_cert is None and settings.c2pa_key is None:
        return None
    if settings.c2pa_cert is None or settings.c2pa_key is None:
        raise ConfigError("C2PA_CERT and C2PA_KEY go together; name both or neither")
    if not settings.provenance:
        raise ConfigError("C2PA_CERT signs what PROVENANCE says; do not switch it off")
    if output.suffix.lower() not in MEDIA_TYPES:
        raise ConfigError(
            f"a {output.suffix} file cannot hold a C2PA manifest; name an output that ends in "
            f"{', '.join(MEDIA_TYPES)}, or leave C2PA_CERT and C2PA_KEY out"
        )
    return Credentials(settings.c2pa_cert, settings.c2pa_key)


def _check_space(settings: Settings, output: Path, target: MediaInfo) -> None:
    """Raises StorageError when output or artifacts would not fit; estimates are generous."""
    share = _share(settings, target)
    _check_free(output.absolute().parent, round(2 * share * target.path.stat().st_size), "the output")
    pictures = len({"frames", "swapped"} & set(settings.cache_artifacts))
    if pictures and target.estimated_frames is not None:
        # A lossless picture takes about two thirds of its pixels' bytes.
        size = 2 * target.width * target.height
        frames = math.ceil(share * target.estimated_frames)
        _check_free(settings.cache_root, pictures * frames * size, "the artifacts asked for")


def _share(settings: Settings, target: MediaInfo) -> float:
    """How much of the target is used, 0 to 1."""
    if not target.duration:
        return 1.0
    end = min(settings.trim_end or target.duration, target.duration)
    return float((end - (settings.trim_start or 0)) / target.duration)


def _check_free(folder: Path, needed: int, what: str) -> None:
    try:
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
    except OSError:
        # Whoever makes something there says what is wrong with it.
        return
    if free < needed:
        raise StorageError(
            f"{what} may need {needed / 1e6:.0f} MB but {there} has {free / 1e6:.0f} MB free; make room or "
            f"choose another place"
        )
