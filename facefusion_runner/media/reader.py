"""A video's frames, one by one, each with its own timestamp, or an error that says where it stopped.

Decoders hide damage: they repeat a block, a frame, or end early without a word. Here a packet that
gives no frame, a frame marked as damaged and a file that ends too soon are all errors.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from facefusion_runner.errors import InputError, MediaError
from facefusion_runner.faces.types import Picture
from facefusion_runner.media import colour
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.orientation import UPRIGHT, copy_properties
from facefusion_runner.media.probe import MediaInfo, find_video, is_rgb, open_media, reason

_LONGEST_GAP: Final = Fraction(24 * 3600)
"""Seconds between two frames; more is a damaged timestamp."""

_LARGEST_STEP_BACK: Final = Fraction(1)

_DECODER_OPTIONS: Final = {
    # FFmpeg's HEVC decoder marks no frame as damaged; only so does it report what it notices.
    "hevc": {"err_detect": "crccheck+explode"},
}


@dataclass(slots=True)
class _Timed:
    """A decoded picture in the timeline of the file."""

    picture: av.VideoFrame
    time: Fraction
    duration: Fraction
    bgr: Picture | None = None


class VideoReader:
    """Iterates over the frames between `trim_start` and `trim_end`, at `fps` where it is given.

    Times are counted from the file's first frame. On entering the first frame is decoded, so that what cannot
    work fails at once. Raises InputError when nothing lies between the two times, MediaError for damage.
    """

    def __init__(
        self,
        path: Path,
        info: MediaInfo,
        *,
        trim_start: Fraction | None = None,
        trim_end: Fraction | None = None,
        fps: Fraction | None = None,
        threads: int = 0,
    ) -> None:
        """fps drops and repeats frames at the same speed; threads 0 takes all cores."""
        self._path = path
        self._info = info
        self._from = info.start + trim_start if trim_start else None
        self._until = info.start + trim_end if trim_end is not None else None
        self._fps = fps
        self._threads = threads or os.cpu_count() or 1
        self._container: InputContainer | None = None
        self._frames: Iterator[_Timed] = iter(())
        self._start = Fraction(0)
        self._converter = VideoReformatter()
        self.warnings: list[str] = []
        """What was changed and the user ought to know; grows while frames are read."""

    @property
    def start(self) -> Fraction:
        """The time in the file that is 0 in the output: the first kept frame's, or 0 without trimming."""
        return self._start

    @property
    def end(self) -> Fraction | None:
        """The time in the file at which `trim_end` cuts; None without it."""
        return self._until

    @property
    def time_base(self) -> Fraction:
        """Seconds of which the time of every frame is a multiple."""
        return 1 / self._fps if self._fps is not None else self._info.time_base

    @property
    def expected_frames(self) -> int | None:
        """How many frames will come, as far as the file tells; None when it does not."""
        info = self._info
        if self._fps is None and self._from is None and self._until is None:
            return info.estimated_frames
        rate = self._fps or info.rate
        if info.duration is None or rate is None:
            return None
        end = (
            info.start + info.duration
            if self._until is None
            else min(self._until, info.start + info.duration)
        )
        return max(round((end - (self._from or info.start)) * rate), 1)

    def __enter__(self) -> Self:
        info = self._info
        if info.missing_bytes and self._until is None:
            raise MediaError(
                f"{self._path} is cut off: at least {info.missing_bytes} bytes are missing at its end"
            )
        try:
            self._frames = self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End decoding; its threads end with it."""
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def __iter__(self) -> Iterator[Frame]:
        aspect = float(self._info.pixel_aspect)
        for index, timed in enumerate(self._resampled(self._frames)):
            yield Frame(
                timed.picture,
                index=index,
                time=timed.time,
                duration=timed.duration,
                pixel_aspect=aspect,
                bgr=timed.bgr,
            )

    def look(self, seconds: Fraction) -> tuple[Fraction, Picture] | None:
        """Time and BGR of the kept frame that is nearest to `seconds`; None where none is kept.

        Both are counted from the file's first frame. Found by seeking, with no regard to `fps`; for a reader
        that is not iterated over.
        """
        wanted = self._info.start + seconds
        found: _Timed | None = None
        for timed in self._from_keyframe(wanted):
            if self._until is not None and timed.time >= self._until:
                break
            if self._from is not None and timed.time < self._from:
                continue
            if found is None or abs(timed.time - wanted) < abs(found.time - wanted):
                found = timed
            if timed.time >= wanted:
                break
        if found is None:
            return None
        time = found.time - self._info.start
        upright = self._upright(found)
        frame = Frame(upright.picture, index=0, time=time, duration=upright.duration, bgr=upright.bgr)
        return time, frame.bgr

    def _begin(self) -> Iterator[_Timed]:
        """The frames from the first kept one on, with `start` set."""
        frames, first = self._open_at_start()
        if first is None:
            raise InputError(f"{self._path}: no frame lies between the times it is trimmed to")
        if self._from is not None or first.time < 0:
            self._start = first.time
        return self._shifted(first, frames)

    def _shifted(self, first: _Timed, rest: Iterator[_Timed]) -> Iterator[_Timed]:
        timed: _Timed | None = first
        while timed is not None:
            if self._until is not None:
                timed.duration = min(timed.duration, self._until - timed.time)
            timed.time -= self._start
            yield self._upright(timed)
            timed = self._next_kept(rest)

    def _open_at_start(self) -> tuple[Iterator[_Timed], _Timed | None]:
        """The first kept frame, None where there is none, and those after it."""
        frames = self._from_keyframe(self._from)
        first = next(frames, None)
        while first is not None and self._from is not None and first.time < self._from:
            first = next(frames, None)
        if first is not None and self._until is not None and first.time >= self._until:
            first = None
        return frames, first

    def _from_keyframe(self, wanted: Fraction | None) -> Iterator[_Timed]:
        """Decode from a keyframe at or before the time `wanted`; None is the beginning.

        Which keyframe a seek finds depends on decoding times and on the index; when it lies after the
        wanted time, an earlier one is tried, at last the beginning.
        """
        margin = Fraction(0)
        while wanted is not None and wanted - margin > self._info.start:
            frames = self._timed(self._decode(wanted - margin))
            first = next(frames, None)
            if first is not None and first.time <= wanted:
                return chain((first,), frames)
            margin = margin * 4 + 1
        return self._timed(self._decode(None))

    def _next_kept(self, frames: Iterator[_Timed]) -> _Timed | None:
        timed = next(frames, None)
        if timed is None or (self._until is not None and timed.time >= self._until):
            return None
        return timed

    def _decode(self, target: Fraction | None) -> Iterator[av.VideoFrame]:
        """Pictures in the order of display, from the keyframe before `target` seconds on."""
        if self._container is not None:
            self._container.close()
        container = self._container = open_media(self._path)
        stream = find_video(container, self._path)
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        context = stream.codec_context
        context.thread_type = "AUTO"
        context.thread_count = self._threads
        context.options = dict(_DECODER_OPTIONS.get(context.codec.canonical_name, {}))
        if target is not None:
            try:
                container.seek(int(target / self._info.time_base), stream=stream)
            except (av.error.FFmpegError, OverflowError):
                # GIF cannot be sought in; its frames before the target are decoded and dropped.
                container.close()
                yield from self._decode(None)
                return
        yield from self._checked(container, stream)

    def _checked(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        awaited: list[int] = []
        decoded = 0
        problem = "the decoder gave no picture for it"
        failed = False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                raise self._broken(decoded, awaited[0] if awaited else None, reason(error)) from None
            if packet is None:
                break
            if packet.is_corrupt:
                raise self._broken(decoded, packet.pts, "its data is cut off or damaged")
            if packet.size and packet.pts is not None and _is_shown(packet, stream):
                heapq.heappush(awaited, packet.pts)
            try:
                pictures = stream.decode(packet if packet.size else None)
            except av.error.FFmpegError as error:
                # With several threads it belongs to an earlier packet: which one, the next picture shows.
                problem, failed, pictures = reason(error), True, []
            for picture in pictures:
                self._check(picture, decoded, awaited, problem)
                decoded += 1
                yield picture
        if failed or (awaited and not self._info.interlaced):
            raise self._broken(decoded, awaited[0] if awaited else None, problem)
        if self._info.missing_bytes:
            raise MediaError(f"{self._path} is cut off after frame {decoded - 1}")

    def _check(self, picture: av.VideoFrame, number: int, awaited: list[int], problem: str) -> None:
        pts = picture.pts
        if picture.is_corrupt:
            raise self._broken(number, pts, "its data is damaged")
        if pts is None:
            return
        while awaited and awaited[0] < pts:
            lost = heapq.heappop(awaited)
            # Pictures before the first one refer to what was cut away before it and are shown by no player;
            # of two fields in two packets only one gives a picture.
            if number > 0 and not self._info.interlaced:
                raise self._broken(number, lost, problem)
        if awaited and awaited[0] == pts:
            heapq.heappop(awaited)

    def _broken(self, number: int, pts: int | None, detail: str) -> MediaError:
        at = "" if pts is None else f" at {float(pts * self._info.time_base - self._info.start):.3f} s"
        counted = "" if self._from is not None else f" {number}"
        return MediaError(f"{self._path}: frame{counted}{at} cannot be decoded: {detail}")

    def _timed(self, pictures: Iterator[av.VideoFrame]) -> Iterator[_Timed]:
        """Give every picture a time later than the one before it."""
        base = self._info.time_base
        usual = 1 / self._info.rate if self._info.rate else Fraction(1, 25)
        before: _Timed | None = None
        for picture in pictures:
            if picture.pts is not None:
                time = picture.pts * base
            elif before is not None:
                time = before.time + max(round(usual / base), 1) * base
            else:
                time = self._info.start
            if before is not None:
                time = self._later(before.time, time)
            before = _Timed(picture, time, picture.duration * base)
            yield before

    def _later(self, before: Fraction, time: Fraction) -> Fraction:
        if time - before > _LONGEST_GAP or before - time > _LARGEST_STEP_BACK:
            raise MediaError(
                f"{self._path}: the timestamps jump from {float(before):.3f} s to {float(time):.3f} s"
            )
        if time > before:
            return time
        self._warn(
            "two frames have the same time or are out of order; the later one was moved by the least step"
        )
        return before + self._info.time_base

    def _upright(self, timed: _Timed) -> _Timed:
        """Planar YUV, turned upright, of the size and format the first frame had."""
        picture, info = timed.picture, self._info
        width, height = info.orientation.size(info.width, info.height)
        if (picture.width, picture.height) != (width, height):
            raise MediaError(
                f"{self._path}: the size changes from {width}x{height} to {picture.width}x{picture.height}"
                f" at {float(timed.time):.3f} s"
            )
        if is_rgb(picture.format):
            picture, bgr = self._from_rgb(picture)
            timed.bgr = bgr if info.orientation == UPRIGHT else None
        elif not colour.is_planar_yuv(picture.format.name):
            if any(component.is_alpha for component in picture.format.components):
                self._warn("its transparency is dropped")
            picture = self._converted(picture, working_format(picture.format.name))
        timed.picture = info.orientation.apply(picture)
        return timed

    def _from_rgb(self, picture: av.VideoFrame) -> tuple[av.VideoFrame, Picture]:
        """RGB, palette and grey to YUV, and the 8-bit BGR between; transparency is laid on white."""
        bgra = np.asarray(self._converter.reformat(picture, format="bgra", threads=1).to_ndarray(), np.uint8)
        alpha = bgra[:, :, 3]
        bgr = np.ascontiguousarray(bgra[:, :, :3])
        if alpha.min() < 255:
            self._warn("its transparent parts are laid on white")
            weight = alpha[:, :, None].astype(np.uint16)
            bgr = ((bgr * weight + (255 - weight) * np.uint16(255) + 127) // 255).astype(np.uint8)
        target = av.VideoFrame(picture.width, picture.height, working_format(picture.format.name))
        copy_properties(picture, target)
        seen = self._info.colour
        target.colorspace, target.color_range = seen.matrix, seen.range
        target.color_primaries, target.color_trc = seen.primaries, seen.transfer
        colour.Colours.of(target).write(bgr, None, colour.planes(target))
        return target, bgr

    def _converted(self, picture: av.VideoFrame, pix_fmt: str) -> av.VideoFrame:
        return self._converter.reformat(picture, format=pix_fmt, threads=1)

    def _resampled(self, frames: Iterator[_Timed]) -> Iterator[_Timed]:
        """Frames at `fps`: each stands at the nearest tick, the last of several wins, gaps are filled."""
        if self._fps is None:
            yield from frames
            return
        fps, step = self._fps, 1 / self._fps
        held = next(frames, None)
        if held is None:
            return
        first = tick = _nearest(held.time * fps)
        for timed in frames:
            following = _nearest(timed.time * fps)
            yield from _repeat(held, tick, following, step)
            held, tick = timed, max(tick, following)
        end = held.time + (held.duration or step)
        if self._until is not None:
            end = min(end, self._until - self._start)
        last = _nearest(end * fps)
        yield from _repeat(held, tick, max(last, first + 1), step)

    def _warn(self, text: str) -> None:
        message = f"{self._path}: {text}"
        if message not in self.warnings:
            self.warnings.append(message)


def working_format(pix_fmt: str) -> str:
    """The planar YUV format into which a picture of `pix_fmt` is taken where it is not one itself."""
    if colour.is_planar_yuv(pix_fmt):
        return pix_fmt
    deep = max(component.bits for component in av.VideoFormat(pix_fmt).components) > 8
    if av.VideoFormat(pix_fmt).is_rgb or "gray" in pix_fmt or "pal8" in pix_fmt:
        # A GIF's colours at full chroma resolution would ask for a profile that few players have.
        return "yuv444p10le" if deep else "yuv420p"
    choice, _ = av.codec.codec.find_best_pix_fmt_of_list(_WORKING, pix_fmt)
    return choice.name if choice is not None else "yuv444p"


_WORKING: Final = tuple(
    f"yuv{chroma}p{depth}" for depth in ("", "10le", "12le") for chroma in ("420", "422", "444")
)


def _is_shown(packet: Packet[VideoStream], stream: VideoStream) -> bool:
    if packet.is_discard:
        return False
    # RFC 6386, 9.1: a VP8 frame may only be there for others to refer to; bit 4 says whether it is shown.
    return stream.codec_context.codec.canonical_name != "vp8" or bool(bytes(packet)[0] & 0x10)


def _nearest(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def _repeat(held: _Timed, first: int, end: int, step: Fraction) -> Iterator[_Timed]:
    for tick in range(first, end):
        picture, bgr = held.picture, held.bgr
        if tick < end - 1:
            # Another thread may paste into a frame as soon as it is given out: the original goes last.
            picture, bgr = _copy(picture), None if bgr is None else bgr.copy()
        yield _Timed(picture, tick * step, step, bgr)


def _copy(picture: av.VideoFrame) -> av.VideoFrame:
    """A frame with planes of its own: each of several copies may be pasted into."""
    copy = av.VideoFrame(picture.width, picture.height, picture.format.name)
    copy_properties(picture, copy)
    for plane, into in zip(colour.planes(picture), colour.planes(copy), strict=True):
        into[...] = plane
    return copy
