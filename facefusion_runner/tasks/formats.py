"""The kinds of files that results are."""

from __future__ import annotations

from typing import Final

OUTPUT_FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "video": ("mp4", "mov", "mkv", "webm"),
    "picture": ("jpg", "png", "webp"),
}
"""The endings an output may have, by the target's kind."""

MEDIA_TYPES: Final = {
    **{"mp4": "video/mp4", "mov": "video/quicktime", "mkv": "video/x-matroska", "webm": "video/webm"},
    **{"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"},
}
"""By the ending."""
