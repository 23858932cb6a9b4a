"""Video encoders: which there are, what each container holds, and which pixel format a film is encoded in."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import av
from av.video.codeccontext import VideoCodecContext

from facefusion_runner.errors import ConfigError, InputError
from facefusion_runner.media.probe import HdrMetadata, MediaInfo, reason
from facefusion_runner.media.reader import working_format

DEFAULT_QUALITY: Final = 68
"""Of 0..100: hardly distinguishable from the source."""

_SPEEDS: Final = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
)  # fmt: skip


@dataclass(frozen=True)
class Encoder:
    """One encoder of FFmpeg's."""

    name: str
    """As the user writes it."""
    codec: str
    library: str
    """FFmpeg's name."""
    worst: int
    """The encoder's own quality number at quality 0; smaller is better."""
    best: int
    presets: Mapping[str, str]
    """The common names of speed to the encoder's own."""
    native_presets: str = r"(?!)"
    """What else it takes, as a pattern."""
    hardware: bool = False
    any_size: bool = False
    """Whether 4:2:0 may have an odd width or height."""
    smallest: tuple[int, int] = (2, 2)
    """Width and height; below it x265 4.2 and SVT-AV1 4.1 write beyond their memory."""
    highest_rate: int = 1_000_000
    """Frames per second it can be told of; the timestamps are not bound to it."""

    def options(self, quality: int, preset: str | None, hdr: HdrMetadata) -> dict[str, str]:
        """FFmpeg's options for this encoder. Raises ConfigError for a preset it has not."""
        level = str(round(self.worst + (self.best - self.worst) * quality / 100))
        speed = self._speed(preset or "medium")
        if self.hardware:
            return {"preset": speed, "rc": "vbr", "cq": level, "b": "0"}
        if self.library == "libvpx-vp9":
            # Its slower mode takes every speed above 5 for 5.
            deadline = "realtime" if int(speed) > 5 else "good"
            return {"deadline": deadline, "cpu-used": speed, "crf": level, "b": "0", "row-mt": "1"}
        options = {"preset": speed, "crf": level}
        parameters = _hdr_parameters(self.library, hdr)
        if self.library == "libx264" and _has_avx512():
            # x264 165's AVX-512 code for mbtree gives one and the same film other bits now and then.
            parameters.append("asm=AVX2")
        if self.library == "libx265":
            # Otherwise it writes its settings to standard error.
            parameters.append("log-level=none")
        if parameters:
            options[_PARAMETERS_OPTION[self.library]] = ":".join(parameters)
        return options

    def _speed(self, preset: str) -> str:
        if preset in self.presets:
            return self.presets[preset]
        if re.fullmatch(self.native_presets, preset):
            return preset
        raise ConfigError(
            f"preset {preset!r} is none of {self.name}'s: {', '.join(self.presets)}"
            + (f", or {self.native_presets}" if self.native_presets != r"(?!)" else "")
        )

    def pixel_formats(self) -> tuple[str, ...]:
        """The formats it takes that hold luma and chroma apart, chroma in colour."""
        formats = av.Codec(self.library, "w").video_formats or []
        return tuple(f.name for f in formats if re.fullmatch(_USED_FORMATS, f.name))


@cache
def _has_avx512() -> bool:
    with contextlib.suppress(OSError):
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    return False


_USED_FORMATS: Final = r"yuvj?4(20|22|44)p(10le|12le|16le)?|p010le"


def _numbered(*values: int | str) -> Mapping[str, str]:
    return MappingProxyType(dict(zip(_SPEEDS, map(str, values), strict=True)))


_SAME: Final = _numbered(*_SPEEDS)
_NVENC: Final = _numbered("p1", "p1", "p2", "p3", "p3", "p4", "p5", "p6", "p7")

ENCODERS: Final[Mapping[str, Encoder]] = MappingProxyType(
    {
        encoder.name: encoder
        for encoder in (
            Encoder("h264", "h264", "libx264", 51, 1, _SAME, "placebo"),
            Encoder("hevc", "hevc", "libx265", 51, 1, _SAME, "placebo", smallest=(64, 16)),
            Encoder(
                "av1", "av1", "libsvtav1", 63, 3, _numbered(12, 11, 10, 9, 8, 7, 5, 4, 3), "[0-9]|1[0-3]",
                any_size=True, smallest=(64, 16), highest_rate=240,
            ),
            Encoder(
                "vp9", "vp9", "libvpx-vp9", 63, 3, _numbered(8, 7, 6, 5, 4, 3, 2, 1, 0), "[0-8]",
                any_size=True,
            ),
            Encoder("h264_nvenc", "h264", "h264_nvenc", 51, 1, _NVENC, "p[1-7]", hardware=True),
            Encoder("hevc_nvenc", "hevc", "hevc_nvenc", 51, 1, _NVENC, "p[1-7]", hardware=True),
            Encoder("av1_nvenc", "av1", "av1_nvenc", 51, 1, _NVENC, "p[1-7]", hardware=True),
        )
    }
)  # fmt: skip


@dataclass(frozen=True)
class Container:
    """A kind of file that can be written."""

    suffix: str
    muxer: str
    codecs: tuple[str, ...]
    """The first is the default."""
    negative_times: bool
    """Whether an edit list can say that a track begins before the film."""


CONTAINERS: Final[Mapping[str, Container]] = MappingProxyType(
    {
        container.suffix: container
        for container in (
            Container(".mp4", "mp4", ("h264", "hevc", "av1", "vp9"), True),
            Container(".mov", "mov", ("h264", "hevc"), True),
            Container(".mkv", "matroska", ("h264", "hevc", "av1", "vp9"), False),
            Container(".webm", "webm", ("vp9", "av1"), False),
        )
    }
)


def container_for(path: Path) -> Container:
    """By the name's ending. Raises InputError."""
    try:
        return CONTAINERS[path.suffix.lower()]
    except KeyError:
        raise InputError(
            f"{path}: a video is written as {', '.join(CONTAINERS)}, not as {path.suffix or 'nothing'}"
        ) from None


def choose(name: str, container: Container) -> Encoder:
    """The encoder `name`, or for "auto" the container's usual one.

    Raises ConfigError when there is no such encoder or the container cannot hold what it makes.
    """
    if name == "auto":
        return ENCODERS[container.codecs[0]]
    encoder = ENCODERS.get(name)
    if encoder is None:
        raise ConfigError(f"video encoder {name!r} is unknown; there are auto, {', '.join(ENCODERS)}")
    if encoder.codec not in container.codecs:
        raise ConfigError(
            f"a {container.suffix} file cannot hold {encoder.codec};"
            f" it holds {', '.join(container.codecs)} (video encoder {name!r})"
        )
    return encoder


def check_size(encoder: Encoder, info: MediaInfo) -> None:
    """Raises InputError for a film that is too small for the encoder."""
    width, height = encoder.smallest
    if info.width < width or info.height < height:
        raise InputError(
            f"{info.path} is {info.width}x{info.height}; {encoder.name} needs {width}x{height} at least,"
            " choose the video encoder h264 or vp9"
        )


def unusable(encoder: Encoder, width: int = 640, height: int = 360, pix_fmt: str = "yuv420p") -> str | None:
    """Why the encoder cannot be opened here, in one line; None when it can."""
    try:
        context = av.CodecContext.create(encoder.library, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = width, height, pix_fmt
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.options = encoder.options(DEFAULT_QUALITY, None, HdrMetadata(None, None))
        open_encoder(context)
    except (av.error.FFmpegError, av.codec.codec.UnknownCodecError, OSError, ValueError) as error:
        return reason(error)
    return None


def software(encoder: Encoder) -> Encoder:
    """The software encoder of the same codec."""
    return ENCODERS[encoder.codec]


def open_encoder(context: VideoCodecContext) -> None:
    """Opens a configured encoder. Raises what FFmpeg raises.

    SVT-AV1 writes its settings to standard error unless the environment says otherwise. Started by root it
    gives the calling thread and its own ones a real-time priority above all else on the machine, which child
    processes would inherit: that is taken back.
    """
    os.environ.setdefault("SVT_LOG", "0")
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    before = set(os.listdir("/proc/self/task"))
    context.open()
    if os.sched_getscheduler(0) != policy:
        for thread in {*os.listdir("/proc/self/task")} - before:
            # It may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread), policy, priority)
        os.sched_setscheduler(0, policy, priority)


def pixel_format(encoder: Encoder, info: MediaInfo) -> tuple[str, list[str]]:
    """What a film is encoded in, and what the user ought to know about it.

    Depth and chroma stay as they are where the encoder takes them. H.264 and HEVC cannot say that a 4:2:0
    picture is an odd number of pixels wide or high; it is encoded in 4:4:4 then, so that it keeps its size.
    """
    source = info.orientation.pix_fmt(working_format(info.pix_fmt))
    wanted, warnings = source, []
    chroma = re.sub(r"yuvj?(4..)p.*", r"\1", source)
    odd = (chroma[1] != "4" and info.width % 2) or (chroma == "420" and info.height % 2)
    if odd and not encoder.any_size:
        wanted = source.replace(chroma, "444")
        warnings.append(
            f"{info.width}x{info.height} is an odd size, which {encoder.codec} can only keep with full chroma"
            " (4:4:4); for wider playback choose av1 or vp9"
        )
    formats = encoder.pixel_formats()
    if wanted in formats:
        return wanted, warnings
    # The J in yuvj420p only says that the range is full.
    plain = wanted.replace("yuvj", "yuv")
    choice, _ = av.codec.codec.find_best_pix_fmt_of_list([f for f in formats if "j" not in f], plain)
    assert choice is not None
    lost = _loss(plain, choice.name)
    if lost:
        warnings.append(f"{encoder.name} encodes {choice.name} here: {lost}")
    return choice.name, warnings


def _loss(source: str, target: str) -> str:
    before, after = av.VideoFormat(source, 64, 64), av.VideoFormat(target, 64, 64)
    losses = []
    bits, kept = before.components[0].bits, after.components[0].bits
    if kept < bits:
        losses.append(f"{bits} bits become {kept}")
    if (after.chroma_width(), after.chroma_height()) < (before.chroma_width(), before.chroma_height()):
        losses.append("chroma loses resolution")
    return ", ".join(losses)


_PARAMETERS_OPTION: Final = {
    "libx264": "x264-params",
    "libx265": "x265-params",
    "libsvtav1": "svtav1-params",
}


def carries_hdr_metadata(encoder: Encoder) -> bool:
    """Whether mastering display and light level can be given to the encoder."""
    return encoder.library in _PARAMETERS_OPTION


def _hdr_parameters(library: str, hdr: HdrMetadata) -> list[str]:
    """Mastering display (SMPTE ST 2086) and light level (CTA-861.3) in the encoder's own words."""
    if library not in _PARAMETERS_OPTION:
        return []
    parameters = []
    names = {
        "libx264": ("mastering-display", "cll"),
        "libx265": ("master-display", "max-cll"),
        "libsvtav1": ("mastering-display", "content-light"),
    }[library]
    if hdr.mastering is not None:
        # x264 and x265 count in units of the bitstream, SVT-AV1 in numbers as they are.
        whole = library != "libsvtav1"
        points = [str(round(v * 50000)) if whole else f"{float(v):.5f}" for v in hdr.mastering[:8]]
        light = [str(round(v * 10000)) if whole else f"{float(v):.4f}" for v in hdr.mastering[8:]]
        red, green, blue, white = (f"({points[i]},{points[i + 1]})" for i in (0, 2, 4, 6))
        parameters.append(f"{names[0]}=G{green}B{blue}R{red}WP{white}L({light[1]},{light[0]})")
    if hdr.light is not None:
        parameters.append(f"{names[1]}={hdr.light[0]},{hdr.light[1]}")
    return parameters
