"""Whole swaps: their memory, and the networks' share of the time.

    python -m benchmarks.swap memory       peak memory for a clip of 6 s and of 60 s
    python -m benchmarks.swap networks     time in a full-width inswapper on the CPU ÷ time of the swap

The networks that find the face are the tests' own small ones.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2

from benchmarks.full_inswapper import full_inswapper
from facefusion_runner.pipeline.run import Result, swap
from facefusion_runner.progress import make_reporter
from facefusion_runner.settings import Settings
from facefusion_runner.signals import Stop
from tests.pipeline.conftest import faces, write_clip
from tests.support.tiny_models import face_picture, make_tiny_models


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["memory", "networks", "one-swap"])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.what == "one-swap":
        _one_swap(chosen.folder)
        return
    with tempfile.TemporaryDirectory(prefix="swap-") as temporary:
        folder = Path(temporary)
        if chosen.what == "memory":
            _memory(folder)
        else:
            _networks(folder)


def _memory(folder: Path) -> None:
    _prepare(folder)
    peaks = {}
    clip = faces(25, (1280, 720), 300)
    for seconds in (6, 60):
        write_clip(
            folder / "target.mp4",
            [clip[i % 25] for i in range(25 * seconds)],
            options={"preset": "ultrafast"},
        )
        command = [sys.executable, "-m", "benchmarks.swap", "one-swap", "--folder", str(folder)]
        peaks[seconds] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{seconds:3} s of 1280x720: peak memory {peaks[seconds] / 1024:.0f} MB", flush=True)
    print(f"ratio {peaks[60] / peaks[6]:.3f}")


def _one_swap(folder: Path) -> None:
    """In a process of its own, so that the peak is the swap's."""
    _run(folder)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _networks(folder: Path) -> None:
    _prepare(folder)
    write_clip(folder / "target.mp4", faces(16, (640, 360), 120))
    with full_inswapper() as path:
        (folder / "narrow.onnx").unlink()
        (folder / "narrow.onnx").symlink_to(path)
        result = _run(folder)
    inside = sum(result.network_seconds.values())
    work = result.phase_seconds["swapping"]
    print(f"{result.frames} frames: {work:.1f} s of swapping, {inside:.1f} s inside the networks")
    print(f"ratio {inside / work:.3f}")


def _prepare(folder: Path) -> None:
    make_tiny_models(folder)
    cv2.imwrite(str(folder / "source.png"), face_picture())


def _run(folder: Path) -> Result:
    options: dict[str, Any] = {
        "source": (folder / "source.png",),
        "target": folder / "target.mp4",
        "output": folder / "out.mp4",
        "overwrite": True,
        "cache_root": folder / "cache",
        "cache_grace_seconds": 0.0,
        "model_root": folder,
        "detector": "red",
        "encoder": "colours",
        "generator": "narrow",
        "device": "cpu",
        "preset": "veryfast",
    }
    return swap(Settings(**options), make_reporter("none"), Stop())


if __name__ == "__main__":
    main()
