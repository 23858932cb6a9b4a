"""A few frames of a video, spread evenly, without decoding what lies between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from fractions import Fraction
from typing import Final

import av

from facefusion_runner.faces.types import Picture
from facefusion_runner.media.probe import MediaInfo, find_video, open_media
from facefusion_runner.media.reader import VideoReader

_NEVER: Final = Fraction(10**6)
"""Seconds; later than any film ends."""


def sample_frames(
    info: MediaInfo,
    count: int,
    *,
    trim_start: Fraction | None = None,
    trim_end: Fraction | None = None,
    threads: int = 0,
) -> Iterator[tuple[Fraction, Picture]]:
    """Seconds from the file's first frame and (h, w, 3) uint8 BGR, upright, of up to `count` frames.

    Each is nearest to the middle of one of `count` equal parts of what lies between the two times; of up to
    `count` evenly spaced frames all come, and none comes twice. Raises MediaError for damage in what is
    decoded.
    """
    begin = trim_start or Fraction(0)
    end = last_time(info)
    if trim_end is not None:
        end = min(end, trim_end)
    step = max(end - begin, Fraction(0)) / count
    before: Fraction | None = None
    reader = VideoReader(info.path, info, trim_start=trim_start, trim_end=trim_end, threads=threads)
    with closing(reader):
        for part in range(count):
            found = reader.look(begin + step * part + step / 2)
            if found is not None and found[0] != before:
                before = found[0]
                yield found


def last_time(info: MediaInfo) -> Fraction:
    """Seconds from the file's first frame to its last, as the packets say and not what the header claims."""
    times: list[int] = []
    for sought in (True, False):
        # What cannot be demuxed ends it: decoding says where the damage is.
        with open_media(info.path) as container, suppress(av.error.FFmpegError, OSError):
            stream = find_video(container, info.path)
            if sought:
                container.seek(int(_NEVER / info.time_base), stream=stream)
            for packet in container.demux(stream):
                if packet.size and packet.pts is not None:
                    times.append(packet.pts)
        if times:
            break
    return max(max(times, default=0) * info.time_base - info.start, Fraction(0))
