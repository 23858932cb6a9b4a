"""Whether OpenCV can be imported, and which build it is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from importlib import metadata

from facefusion_runner.doctor.check import Check, one_line
from facefusion_runner.loading import Loaded
from facefusion_runner.settings import Settings

HEADLESS = (
    "pip uninstall -y opencv-python opencv-python-headless && pip install ./packaging/opencv-python-headless"
)


def examine(loaded: Loaded[Settings]) -> Iterator[Check]:
    writers = distributions()
    details = {"distributions": writers}
    names = " and ".join(f"{name} {version}" for name, version in writers.items()) or "no distribution"
    try:
        version = importlib.import_module("cv2").__version__
    except (ImportError, AttributeError) as error:
        yield Check("opencv", "fail", f"cv2 cannot be imported: {one_line(error)}", _mend(error), details)
        return
    if len(writers) > 1:
        yield Check(
            "opencv", "warn", f"{names} write the same folder; cv2 {version} is imported", HEADLESS, details
        )
    else:
        yield Check("opencv", "ok", f"cv2 {version} of {names}", details={"version": version, **details})


def distributions() -> dict[str, str]:
    """Distributions that wrote the folder cv2; the empty ones of packaging/ did not."""
    return {
        str(dist.metadata["Name"]): dist.version
        for dist in metadata.distributions()
        if str(dist.metadata["Name"]).lower().startswith("opencv")
        and "cv2/__init__.py," in (dist.read_text("RECORD") or "")
    }


def _mend(error: Exception) -> str:
    """A build with windows needs libGL, which servers and slim images lack."""
    if "libGL" in str(error):
        return f"apt-get install -y libgl1, or the build without windows: {HEADLESS}"
    if "libgthread" in str(error) or "libglib" in str(error):
        return f"apt-get install -y libglib2.0-0, or the build without windows: {HEADLESS}"
    return HEADLESS
