"""What a target is, before any work: video or picture, its size as it is seen, its colours and its tracks."""

from __future__ import annotations

import stat
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal

import av
from av.buffer import Buffer
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from facefusion_runner.errors import InputError, MediaError
from facefusion_runner.media import colour, pictures
from facefusion_runner.media.orientation import UPRIGHT, Orientation
from facefusion_runner.media.truncation import missing_bytes

# Demuxers that open nothing but the file itself: no playlist, no concatenation, no device, no network.
_FORMATS: Final = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "gif": "gif",
}
_OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,matroska,webm,gif"}

MAX_SIDE: Final = 16384
"""Pixels; beyond it neither H.264 nor AV1 nor any player goes."""

_PROBED_PACKETS: Final = 500


@dataclass(frozen=True, slots=True)
class Track:
    """An audio or subtitle track."""

    index: int
    """The stream's number in the file."""
    kind: Literal["audio", "subtitle"]
    codec: str
    """FFmpeg's name, "unknown" where it knows none."""
    language: str | None
    title: str | None

    def __str__(self) -> str:
        words = [
            self.kind,
            "track",
            str(self.index),
            f"({self.codec}{f', {self.language}' if self.language else ''})",
        ]
        return " ".join(words)


@dataclass(frozen=True, slots=True)
class Colour:
    """Code points of ITU-T H.273: 2 is unspecified; range 1 is limited, 2 full, 0 unspecified."""

    primaries: int
    transfer: int
    matrix: int
    range: int


@dataclass(frozen=True, slots=True)
class HdrMetadata:
    """What the display the film was graded on could show; None where the file does not say."""

    mastering: tuple[Fraction, ...] | None
    """x and y of red, green, blue and the white point (CIE 1931), lowest and highest luminance in cd/m²."""
    light: tuple[int, int] | None
    """MaxCLL and MaxFALL in cd/m²."""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A file that can be read as a video or as a picture."""

    path: Path
    kind: Literal["video", "picture"]
    container: str
    """"mp4" (also mov), "matroska" (also webm), "gif"; "jpeg", "png", "webp" for pictures."""
    codec: str
    pix_fmt: str
    """As stored; "bgr24" for a picture."""
    width: int
    """Of the upright picture, in stored pixels."""
    height: int
    bit_depth: int
    has_alpha: bool
    orientation: Orientation = UPRIGHT
    """Of the stored frames; already applied where a picture is read."""
    pixel_aspect: Fraction = Fraction(1)
    """Width ÷ height of one pixel of the upright picture."""
    stream: int = 0
    """The video stream's number in the file."""
    frames: int | None = None
    """As the file declares it; None where it does not."""
    start: Fraction = Fraction(0)
    """Seconds at which the first frame is shown."""
    duration: Fraction | None = None
    """Seconds of video; None where the file does not say."""
    rate: Fraction | None = None
    """Mean frames per second."""
    time_base: Fraction = Fraction(1, 1000)
    """Seconds of which every timestamp is a multiple."""
    colour: Colour = Colour(2, 2, 2, 0)
    """Of the frames as they are read."""
    hdr: Literal["pq", "hlg"] | None = None
    hdr_metadata: HdrMetadata = HdrMetadata(None, None)
    dynamic_hdr: bool = False
    """Whether the frames carry HDR metadata of their own (Dolby Vision, HDR10+)."""
    interlaced: bool = False
    audio: tuple[Track, ...] = ()
    subtitles: tuple[Track, ...] = ()
    other_video: int = 0
    """Video streams beside the one that is used, cover pictures left out."""
    missing_bytes: int = 0
    """By how much the file is shorter than its own headers say."""

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the stored frames must be turned."""
        return self.orientation.clockwise

    @property
    def estimated_frames(self) -> int | None:
        """Declared, else duration x rate; None where neither is known."""
        if self.frames is not None:
            return self.frames
        if self.duration is None or self.rate is None:
            return None
        return max(round(self.duration * self.rate), 1)


def probe(path: Path, max_pixels: int | None = None) -> MediaInfo:
    """Look at a file; of a video the first frame is decoded.

    Raises InputError when there is no such file, it is no video or picture of a kind that is read, or its
    frames have more than `max_pixels`; MediaError when not even a first frame can be decoded.
    """
    check_readable(path)
    picture = pictures.probe_picture(path)
    if picture is not None:
        _check_pixels(path, picture.width, picture.height, max_pixels)
        return MediaInfo(
            path=path,
            kind="picture",
            container=picture.format,
            codec=picture.format,
            pix_fmt="bgr24",
            width=picture.width,
            height=picture.height,
            bit_depth=picture.bit_depth,
            has_alpha=picture.has_alpha,
            frames=1,
        )
    with open_media(path) as container:
        return _probe_video(path, container, max_pixels)


def _check_pixels(path: Path, width: int, height: int, most: int | None) -> None:
    if most is not None and width * height > most:
        raise InputError(f"{path} has {width}x{height} pixels; {most} are the most that is taken")


def check_readable(path: Path) -> None:
    """Raises InputError unless `path` is a file that is not empty and may be read."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise InputError(f"{path} is a directory; give a video or a picture")
        if not stat.S_ISREG(found.st_mode):
            # A pipe or a device could block for ever.
            raise InputError(f"{path} is no regular file")
        if found.st_size == 0:
            raise InputError(f"{path} is empty (0 bytes)")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no usable name: {error}") from None


def open_media(path: Path) -> InputContainer:
    """Open a video for demuxing. Raises InputError."""
    try:
        # An absolute path has no colon before its first slash, so it can never be taken for a protocol.
        return av.open(str(path.absolute()), "r", container_options=dict(_OPTIONS), metadata_errors="replace")
    except (av.error.FFmpegError, OSError, UnicodeError) as error:
        raise InputError(
            f"{path} is no video or picture that can be read (mp4, mov, mkv, webm, gif, jpg, png, webp):"
            f" {reason(error)}"
        ) from None


def reason(error: BaseException) -> str:
    """FFmpeg's or the system's own words for an error, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())


def find_video(container: InputContainer, path: Path) -> VideoStream:
    """The stream players show: the default one, else the largest. Raises InputError when there is none."""
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise InputError(f"{path} holds no video")
    if stream.codec_context is None:
        raise InputError(f"{path} holds video in a codec that cannot be decoded here")
    return stream


def _probe_video(path: Path, container: InputContainer, max_pixels: int | None) -> MediaInfo:
    stream = find_video(container, path)
    name = next((ours for theirs, ours in _FORMATS.items() if container.format.name == theirs), None)
    if name is None:
        raise InputError(f"{path} is a {container.format.name} file, which is not read")
    context = stream.codec_context
    if not (0 < context.width <= MAX_SIDE and 0 < context.height <= MAX_SIDE):
        raise InputError(
            f"{path} has frames of {context.width}x{context.height}; {MAX_SIDE} is the largest side"
        )
    _check_pixels(path, context.width, context.height, max_pixels)
    first = _first_frame(path, container, stream)
    orientation = _orientation(first)
    aspect = orientation.pixel_aspect(_positive(stream.sample_aspect_ratio) or Fraction(1))
    width, height = orientation.size(first.width, first.height)
    if width * aspect > MAX_SIDE:
        raise InputError(
            f"{path} has pixels {float(aspect):g} times as wide as high: its {width}x{height} would be shown "
            f"{round(width * aspect)} wide; {MAX_SIDE} is the largest side"
        )
    components = first.format.components
    time_base = stream.time_base or Fraction(1, 1000)
    others = [
        s for s in container.streams.video if s is not stream and not s.disposition & Disposition.attached_pic
    ]
    info = MediaInfo(
        path=path,
        kind="video",
        container=name,
        codec=context.codec.canonical_name,
        pix_fmt=first.format.name,
        width=width,
        height=height,
        bit_depth=max(component.bits for component in components),
        has_alpha=any(component.is_alpha for component in components),
        orientation=orientation,
        pixel_aspect=aspect,
        stream=stream.index,
        frames=stream.frames or None,
        start=stream.start_time * time_base if stream.start_time is not None else Fraction(0),
        duration=_duration(container, stream),
        rate=_positive(stream.average_rate) or _positive(stream.guessed_rate),
        time_base=time_base,
        colour=_colour(path, first),
        hdr=_TRANSFERS.get(first.color_trc),
        hdr_metadata=_hdr_metadata(first),
        dynamic_hdr=any(_side_data(first, name) is not None for name in _DYNAMIC_HDR),
        interlaced=first.interlaced_frame,
        audio=_tracks(container, "audio"),
        subtitles=_tracks(container, "subtitle"),
        other_video=len(others),
        missing_bytes=missing_bytes(path),
    )
    return info


_DYNAMIC_HDR: Final = ("DYNAMIC_HDR_PLUS", "DYNAMIC_HDR_VIVID", "DOVI_METADATA", "DOVI_RPU_BUFFER")

_TRANSFERS: Final[dict[int, Literal["pq", "hlg"]]] = {16: "pq", 18: "hlg"}


def _first_frame(path: Path, container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    # Its text: the error itself would hold this frame, and with it the decoder and its threads.
    problem = ""
    try:
        for number, packet in enumerate(container.demux(stream)):
            try:
                frames = stream.decode(packet if packet.size else None)
            except av.error.FFmpegError as error:
                problem, frames = f": {reason(error)}", []
            if frames:
                return frames[0]
            if number >= _PROBED_PACKETS:
                break
    except (av.error.FFmpegError, OSError) as error:
        problem = f": {reason(error)}"
    raise MediaError(f"{path}: not one frame of its video can be decoded{problem}")


def _orientation(frame: av.VideoFrame) -> Orientation:
    data = _side_data(frame, "DISPLAYMATRIX")
    return Orientation.from_display_matrix(data) if data is not None else UPRIGHT


def _side_data(frame: av.VideoFrame, name: str) -> bytes | None:
    found = frame.side_data.get(name)
    return bytes(found) if isinstance(found, Buffer) else None


def _positive(value: Fraction | None) -> Fraction | None:
    return value if value is not None and value > 0 else None


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration is not None and stream.time_base is not None and stream.duration > 0:
        return stream.duration * stream.time_base
    if container.duration is not None and container.duration > 0:
        return Fraction(container.duration, 1_000_000)
    return None


def _colour(path: Path, frame: av.VideoFrame) -> Colour:
    matrix = frame.colorspace
    if matrix not in {colour.RGB, colour.UNSPECIFIED, 3, *colour.MATRICES}:
        raise InputError(
            f"{path} has the colour matrix {matrix} of H.273 (YCgCo, ICtCp or the like), not supported"
        )
    if is_rgb(frame.format):
        # It is read as YUV with sRGB's primaries and curve.
        return Colour(1, 13, colour.likely_matrix(frame.width, frame.height), colour.LIMITED)
    return Colour(frame.color_primaries, frame.color_trc, matrix, frame.color_range)


def is_rgb(pix_fmt: av.VideoFormat) -> bool:
    """RGB, palette, or grey: whatever is no luma with chroma."""
    return pix_fmt.is_rgb or pix_fmt.has_palette or len(pix_fmt.components) < 3


def _hdr_metadata(frame: av.VideoFrame) -> HdrMetadata:
    mastering: tuple[Fraction, ...] | None = None
    light: tuple[int, int] | None = None
    # AVMasteringDisplayMetadata: ten AVRational, then whether primaries and luminance are given.
    data = _side_data(frame, "MASTERING_DISPLAY_METADATA")
    if data is not None and len(data) >= 88:
        *numbers, has_primaries, has_luminance = struct.unpack("=22i", data[:88])
        if has_primaries and has_luminance and all(numbers[1::2]):
            mastering = tuple(Fraction(n, d) for n, d in zip(numbers[::2], numbers[1::2], strict=True))
    data = _side_data(frame, "CONTENT_LIGHT_LEVEL")
    if data is not None and len(data) >= 8:
        light = struct.unpack("=2I", data[:8])
    return HdrMetadata(mastering, light)


def _tracks(container: InputContainer, kind: Literal["audio", "subtitle"]) -> tuple[Track, ...]:
    return tuple(
        Track(
            stream.index,
            kind,
            stream.codec_context.codec.canonical_name if stream.codec_context is not None else "unknown",
            stream.language,
            stream.metadata.get("title"),
        )
        for stream in container.streams
        if stream.type == kind
    )
