"""Makes video clips for the tests with FFmpeg's own converters and encoders, not with the code under test.

Every frame shows its number, so that a test can tell frames apart after any encoding: `number_of`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from numpy.typing import NDArray

Bgr = NDArray[np.uint8]

SQUARE = 8
"""Side of one of the squares that show the number."""
BITS = 6

LIMITED, FULL = 1, 2
UNSPECIFIED = (2, 2, 2, 0)
BT709 = (1, 1, 1, LIMITED)
PQ = (9, 16, 9, LIMITED)
HLG = (9, 18, 9, LIMITED)


@dataclass(frozen=True)
class Sound:
    """One audio track."""

    seconds: float
    codec: str = "aac"
    language: str | None = None
    begin: float = 0.0
    rate: int = 48000


@dataclass(frozen=True)
class Caption:
    """One line of the subtitle track."""

    begin: float
    end: float
    text: str


def times(count: int, rate: int = 12) -> list[Fraction]:
    """Evenly spaced."""
    return [Fraction(index, rate) for index in range(count)]


def uneven_times(count: int) -> list[Fraction]:
    """A variable frame rate, in whole milliseconds: gaps of 20 to 300 ms."""
    gaps = [40, 100, 20, 300, 33, 67, 41, 250]
    milliseconds = [sum(gaps[i % len(gaps)] for i in range(index)) for index in range(count)]
    return [Fraction(value, 1000) for value in milliseconds]


def draw(index: int, width: int, height: int) -> Bgr:
    """A smooth picture whose quarters differ in colour; the number is black and white squares below."""
    y, x = np.mgrid[0:height, 0:width]
    picture = np.empty((height, width, 3), np.float64)
    picture[..., 0] = 60 + 120 * x / width
    picture[..., 1] = 60 + 120 * y / height
    picture[..., 2] = 180 - 60 * (x + y) / (width + height) + 20 * np.sin(index)
    left, top = x < width / 2, y < height / 2
    picture[top & left] += (-50, -50, 60)
    picture[top & ~left] += (-50, 60, -50)
    picture[~top & left] += (60, -50, -50)
    for bit in range(BITS):
        value = 255 if index >> bit & 1 else 0
        picture[height - SQUARE :, bit * SQUARE : (bit + 1) * SQUARE] = value
    return np.clip(picture, 0, 255).astype(np.uint8)


def number_of(bgr: Bgr) -> int:
    """The number drawn into a frame, upright and of the size it was drawn in."""
    row = bgr[-SQUARE // 2, :, 1]
    return sum(1 << bit for bit in range(BITS) if row[bit * SQUARE + SQUARE // 2] > 127)


@contextmanager
def _usual_priority() -> Iterator[None]:
    """SVT-AV1, started by root, would leave its caller with a real-time priority."""
    usual = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, *usual)


@_usual_priority()
def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (96, 64),
    at: Sequence[Fraction] | None = None,
    time_base: Fraction = Fraction(1, 12000),
    rotation: int = 0,
    flip: bool = False,
    pixel_aspect: Fraction | None = None,
    colour: tuple[int, int, int, int] = UNSPECIFIED,
    sounds: Sequence[Sound] = (),
    captions: Sequence[Caption] = (),
    options: dict[str, str] | None = None,
    picture: Callable[[int, int, int], Bgr] = draw,
    container_options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    chapters: Sequence[tuple[float, float, str]] = (),
) -> Path:
    """Encode `picture(index, width, height)` at each of the times `at`; without it 12 frames in a second.

    The last frame is shown as long as the one before it. `rotation` are degrees clockwise by which a
    player must turn the frames; `flip` mirrors after that.
    `colour` are primaries, transfer, matrix (H.273) and range.
    """
    at = times(12) if at is None else at
    width, height = size
    if options is None:
        options = {"libx264": {"preset": "ultrafast", "crf": "10"}}.get(codec, {})
    with av.open(str(path.absolute()), "w", container_options=container_options or {}) as container:
        container.metadata.update(metadata or {})
        stream = container.add_stream(codec, rate=12, options=options, time_base=time_base)
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, pix_fmt
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = colour
        context.flags |= av.codec.context.Flags.frame_duration
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if rotation or flip:
            stream.set_display_rotation(-rotation, hflip=flip)
        tracks = [_add_sound(container, sound) for sound in sounds]
        text = _add_captions(container) if captions else None
        if chapters:
            container.set_chapters(
                [
                    {
                        "id": number,
                        "start": round(begin * 1000),
                        "end": round(end * 1000),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": title},
                    }
                    for number, (begin, end, title) in enumerate(chapters)
                ]
            )
        for index, time in enumerate(at):
            following = at[index + 1] if index + 1 < len(at) else 2 * time - at[max(index - 1, 0)]
            frame = _frame(picture(index, width, height), pix_fmt, colour)
            frame.time_base = time_base
            frame.pts = round(time / time_base)
            frame.duration = round((following - time) / time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for track, sound in zip(tracks, sounds, strict=True):
            _encode_sound(container, track, sound)
        for caption in captions:
            packet = av.Packet(caption.text.encode())
            assert text is not None
            packet.stream = text
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(caption.begin * 1000)
            packet.duration = round((caption.end - caption.begin) * 1000)
            container.mux(packet)
    return path


def _frame(bgr: Bgr, pix_fmt: str, colour: tuple[int, int, int, int]) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(bgr), format="bgr24")
    if not av.VideoFormat(pix_fmt).is_rgb and pix_fmt != "pal8":
        matrix = {1: "ITU709", 9: "BT2020"}.get(colour[2], "ITU601")
        frame = frame.reformat(
            format=pix_fmt,
            dst_colorspace=matrix,
            dst_color_range=FULL if colour[3] == FULL or pix_fmt.startswith("yuvj") else LIMITED,
            interpolation="AREA",
        )
        frame.colorspace = colour[2]
        frame.color_range = colour[3]
    else:
        frame = frame.reformat(format=pix_fmt)
    return frame


def _add_sound(container: av.container.OutputContainer, sound: Sound) -> AudioStream:
    stream = container.add_stream(sound.codec, rate=sound.rate)
    assert isinstance(stream, AudioStream)
    stream.layout = "mono"
    if sound.language is not None:
        stream.metadata["language"] = sound.language
    return stream


def _encode_sound(container: av.container.OutputContainer, stream: AudioStream, sound: Sound) -> None:
    rate = sound.rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(round(sound.seconds * rate)) / rate)
    block = 960
    for first in range(0, len(wave), block):
        samples = wave[None, first : first + block].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = rate
        frame.pts = first + round(sound.begin * rate)
        frame.time_base = Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _add_captions(container: av.container.OutputContainer) -> av.stream.Stream:
    return container.add_mux_stream("subrip" if "matroska" in container.format.name else "webvtt")


def packets(path: Path, index: int) -> list[tuple[Fraction, bytes]]:
    """Time and content of every packet of a stream."""
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(container.streams[index])
            if packet.size and packet.pts is not None
        ]


def frame_times(path: Path) -> list[Fraction]:
    """The time of every frame, as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        return [frame.pts * base for frame in container.decode(stream) if frame.pts is not None]


def numbers(path: Path) -> list[int]:
    """The number drawn into every frame, as FFmpeg decodes it."""
    with av.open(str(path)) as container:
        return [number_of(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def damage_packet(path: Path, into: Path, number: int, change: Callable[[bytes], bytes]) -> Path:
    """Copy a clip and overwrite one video packet's bytes in place, the length kept."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        found = [packet for packet in container.demux(video=0) if packet.size][number]
        content, position = bytes(found), found.pos
    if position is None or data[position : position + len(content)] != content:
        position = data.index(content)
    changed = change(content)
    assert len(changed) == len(content)
    data[position : position + len(content)] = changed
    into.write_bytes(data)
    return into


def box(kind: bytes, content: bytes) -> bytes:
    """One box of an ISO base media file."""
    return struct.pack(">I4s", 8 + len(content), kind) + content
