"""PyAV's FFmpeg, and the encoders and decoders that can really be opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings

DECODERS: Final = (
    *("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "prores", "mjpeg", "gif"),
    *("aac", "mp3", "opus"),
)
REINSTALL: Final = "pip install --force-reinstall av (its own wheel brings all of them)"


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    try:
        import av
    except ImportError as error:
        yield Check("pyav", "fail", f"av cannot be imported: {one_line(error)}", REINSTALL)
        return
    libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    yield Check(
        "pyav",
        "ok",
        f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}",
        details={"version": av.__version__, "ffmpeg": av.ffmpeg_version_info, "libraries": libraries},
    )
    yield from _encoders(loaded.settings.video_encoder)
    yield _decoders(av)


def _encoders(wanted: str) -> Iterator[Check]:
    from facefusion_runner.media.encoders import ENCODERS, unusable

    faults = {name: unusable(encoder) for name, encoder in ENCODERS.items()}
    for title, hardware in (("encoders", False), ("hardware encoders", True)):
        group = [name for name, encoder in ENCODERS.items() if encoder.hardware is hardware]
        broken = {name: str(faults[name]) for name in group if faults[name]}
        usable = [name for name in group if name not in broken]
        summary = f"can be opened: {', '.join(usable) or 'none'}"
        if broken:
            summary += f"; cannot: {', '.join(broken)} ({next(iter(broken.values()))})"
        details = {name: faults[name] or "ok" for name in group}
        if not broken or (hardware and wanted not in broken):
            yield Check(title, "ok", summary, details=details)
        elif hardware:
            hint = f"VIDEO_ENCODER={wanted} is done in software"
            yield Check(title, "warn", summary, hint, details)
        else:
            yield Check(title, "warn" if usable else "fail", summary, REINSTALL, details)


def _decoders(av: Any) -> Check:
    missing = [name for name in DECODERS if not decodes(av, name)]
    usable = [name for name in DECODERS if name not in missing]
    summary = f"can be opened: {', '.join(usable)}"
    if missing:
        return Check("decoders", "warn", f"{summary}; cannot: {', '.join(missing)}", REINSTALL)
    return Check("decoders", "ok", summary, details={"usable": usable})


def decodes(av: Any, name: str) -> bool:
    """Whether a decoder can be opened."""
    try:
        av.CodecContext.create(name, "r").open()
    except (OSError, ValueError):
        return False
    return True
