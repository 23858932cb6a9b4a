"""Whether a file ends before its own headers say it does: a download or a recording that was cut off.

Demuxers take the end of the file for the end of the film, so the loss would go unseen.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Final

_TOP_LEVEL_BOXES: Final = {b"ftyp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"meta", b"uuid"}
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_MOST_BOXES: Final = 1_000_000


def missing_bytes(path: Path) -> int:
    """How many bytes the end of an MP4, MOV, Matroska or GIF file is short of; 0 when none or not known.

    Raises OSError.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(12)
        if head[4:8] in _TOP_LEVEL_BOXES:
            return max(_end_of_boxes(file, size) - size, 0)
        if head[:4] == _EBML:
            return max(_end_of_segment(file) - size, 0)
        if head[:3] == b"GIF":
            file.seek(max(size - 64, 0))
            # The trailer, 0x3B; some writers pad after it.
            return 0 if file.read().rstrip(b"\0").endswith(b";") else 1
    return 0


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the last top-level box of an ISO base media file ends (ISO/IEC 14496-12, 4.2)."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position >= size:
            break
        file.seek(position)
        header = file.read(16)
        length, kind = int.from_bytes(header[:4]), header[4:8]
        if kind not in _TOP_LEVEL_BOXES or length == 0:
            # What is no box of ours may be anything; length 0 reaches to the end of the file.
            break
        if length == 1:
            length = int.from_bytes(header[8:16])
        if length < 8:
            break
        position += length
    return position


def _end_of_segment(file: BinaryIO) -> int:
    """Where Matroska's segment ends; 0 when its length is not known, as in a live recording (RFC 8794)."""
    file.seek(4)
    length = _variable_int(file)
    if length is None:
        return 0
    file.seek(length, 1)
    if file.read(4) != _SEGMENT:
        return 0
    length = _variable_int(file)
    return file.tell() + length if length is not None else 0


def _variable_int(file: BinaryIO) -> int | None:
    """An EBML data size; None when it is the reserved one that stands for unknown, or is missing."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    width = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(width - 1)) & ((1 << 7 * width) - 1)
    return None if value == (1 << 7 * width) - 1 else value
