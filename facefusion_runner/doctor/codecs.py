"""PyAV's FFmpeg, and the encoders and decoders that can really be opened."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.loading import Loaded

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9")
NVENC = ("h264_nvenc", "hevc_nvenc", "av1_nvenc")
DECODERS = ("h264", "hevc", "av1", "vp8", "vp9", "mpeg4", "prores", "mjpeg", "gif", "aac", "mp3", "opus")


def examine(loaded: Loaded) -> Iterator[Check]:
    try:
        import av
    except ImportError as error:
        yield Check(
            "pyav", "fail", f"av cannot be imported: {one_line(error)}", "pip install --force-reinstall av"
        )
        return
    versions = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
    yield Check(
        "pyav",
        "ok",
        f"PyAV {av.__version__}, FFmpeg {av.ffmpeg_version_info}",
        details={"version": av.__version__, "ffmpeg": av.ffmpeg_version_info, "libraries": versions},
    )
    yield from _encoders(av)
    yield _decoders(av)


def _encoders(av: Any) -> Iterator[Check]:
    with _without_stderr():
        faults = {name: encoder_fault(av, name) for name in (*SOFTWARE, *NVENC)}
    missing = [name for name in SOFTWARE if faults[name]]
    usable = [name for name in SOFTWARE if not faults[name]]
    yield Check(
        "encoders",
        "fail" if not usable else "warn" if missing else "ok",
        f"can be opened: {', '.join(usable) or 'none'}"
        + (f"; cannot: {', '.join(missing)}" if missing else ""),
        "reinstall PyAV: its own wheel brings all of them" if missing else "",
        {name: faults[name] or "ok" for name in SOFTWARE},
    )
    hardware = [name for name in NVENC if not faults[name]]
    yield Check(
        "nvenc",
        "ok",
        f"can be opened: {', '.join(hardware)}"
        if hardware
        else f"none: {faults[NVENC[0]]}; encoding runs on the CPU",
        details={name: faults[name] or "ok" for name in NVENC},
    )


def _decoders(av: Any) -> Check:
    missing = [name for name in DECODERS if not decodes(av, name)]
    usable = [name for name in DECODERS if name not in missing]
    text = f"can be opened: {', '.join(usable)}" + (f"; cannot: {', '.join(missing)}" if missing else "")
    return Check("decoders", "warn" if missing else "ok", text, details={"missing": missing})


def encoder_fault(av: Any, name: str) -> str | None:
    """Why an encoder cannot be opened for a small picture, or None."""
    try:
        context = av.CodecContext.create(name, "w")
        context.width, context.height = 256, 256
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, 25)
        context.open()
    except Exception as error:
        return f"{type(error).__name__}: {one_line(error)}"
    return None


def decodes(av: Any, name: str) -> bool:
    try:
        av.CodecContext.create(name, "r").open()
    except Exception:
        return False
    return True


@contextmanager
def _without_stderr() -> Iterator[None]:
    """x265 and SVT-AV1 write to the descriptor themselves, whatever FFmpeg's log level is."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
