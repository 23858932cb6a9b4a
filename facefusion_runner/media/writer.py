"""Encodes frames into a file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import av
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream

from facefusion_runner.errors import InputError, MediaError, RunnerError, StorageError
from facefusion_runner.media import colour, encoders, pictures, provenance
from facefusion_runner.media.credentials import Credentials
from facefusion_runner.media.encoders import CONTAINERS, Encoder
from facefusion_runner.media.frame import Frame
from facefusion_runner.media.orientation import copy_properties
from facefusion_runner.media.output_file import OutputFile
from facefusion_runner.media.packets import Packets
from facefusion_runner.media.probe import MediaInfo, reason
from facefusion_runner.media.tracks import TrackCopier

if TYPE_CHECKING:
    # Only the type stubs know it.
    from av.container.core import Chapter

# Written by the muxer itself, or no longer true of the output.
_DROPPED_METADATA: Final = frozenset(
    {"major_brand", "minor_version", "compatible_brands", "encoder", "duration", "creation_time"}
)


def check_output(path: Path, inputs: Sequence[Path], overwrite: bool) -> None:
    """Raises InputError unless `path` can be written: its ending, its folder, and that it is no input."""
    if path.suffix.lower() not in {*CONTAINERS, *pictures.SUFFIXES}:
        raise InputError(f"{path}: an output ends in {', '.join((*CONTAINERS, *pictures.SUFFIXES))}")
    try:
        with contextlib.suppress(FileNotFoundError):
            # The tests of pathlib take an impossible name for one that does not exist.
            path.lstat()
        if path.is_dir():
            raise InputError(f"{path} is a directory; give the name of a file")
        for other in inputs:
            # Also true through a symbolic or a hard link.
            if path.exists() and other.exists() and path.samefile(other):
                raise InputError(f"{path} is also an input; give the output another name")
        if path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file")
        if os.path.lexists(path) and not overwrite:
            raise InputError(f"{path} exists; say --overwrite to replace it")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist")
        with OutputFile(path):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no usable name: {error}") from None


class VideoWriter:
    """Writes frames in the order of their times; `commit` puts the file in its place.

    Audio, subtitles, chapters and metadata come from `info.path`, unless the film is a new one. Leaving
    without `commit` leaves nothing.
    """

    def __init__(
        self,
        output: Path,
        info: MediaInfo,
        *,
        encoder: str = "auto",
        quality: int | None = None,
        preset: str | None = None,
        time_base: Fraction | None = None,
        rate: Fraction | None = None,
        start: Fraction = Fraction(0),
        end: Fraction | None = None,
        threads: int = 0,
        overwrite: bool = True,
        new: bool = False,
        provenance: bool = False,
        credentials: Credentials | None = None,
        in_stretches: bool = False,
    ) -> None:
        """`info` is the source's, or describes a `new` film; `time_base`, `start` and `end` are the reader's.

        quality 0..100, 100 is nearly lossless; preset is one of the common names of speed (ultrafast to
        veryslow) or the encoder's own; rate is the mean number of frames a second, None for the source's.
        With `provenance` the file says that faces in it were replaced, signed with `credentials`; with
        `in_stretches` it may be `cut`.
        Raises InputError and ConfigError for what cannot be written.
        """
        self._output = output
        self._info = info
        self._container_kind = encoders.container_for(output)
        self._encoder = encoders.choose(encoder, self._container_kind)
        encoders.check_size(self._encoder, info)
        self._quality = encoders.DEFAULT_QUALITY if quality is None else quality
        self._preset = preset
        self._options = self._encoder.options(self._quality, preset, info.hdr_metadata)
        self._time_base = time_base or info.time_base
        self._rate = rate or info.rate or Fraction(25)
        self._start, self._end = start, end
        self._threads = threads
        self._overwrite = overwrite
        self._new = new
        self._provenance = provenance
        self._credentials = credentials
        self._in_stretches = in_stretches
        self._file: OutputFile | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._context: VideoCodecContext | None = None
        """Of the stretch at hand; the first one's is the stream's own."""
        self._stretch: list[Packets] = []
        self._last_dts: int | None = None
        self._tracks: TrackCopier | None = None
        self._converter = VideoReformatter()
        self._committed = False
        self._written = 0
        self._warnings: list[str] = []

    @property
    def warnings(self) -> list[str]:
        """What could not be kept; complete after `commit`."""
        return [*self._warnings, *(self._tracks.warnings if self._tracks is not None else ())]

    @property
    def encoder(self) -> Encoder:
        """The encoder in use, after a fallback the one that was fallen back to."""
        return self._encoder

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._committed:
            self._discard()

    def write(self, frame: Frame) -> None:
        """Encode a frame; its planes must not change afterwards. Raises MediaError, StorageError."""
        assert self._stream is not None
        if self._context is None:
            with self._errors():
                self._context = self._next_context()
        picture = self._in_format(frame.picture)
        picture.time_base = self._time_base
        picture.pts = round(frame.time / self._time_base)
        picture.duration = round(frame.duration / self._time_base)
        # The decoder's choice of I, P and B frames would be forced upon the encoder.
        picture.pict_type = 0
        self._written += 1
        with self._errors():
            self._mux(self._context.encode(picture))

    def cut(self) -> Packets:
        """End the stretch of the film that was written since the last cut, and give its packets.

        What is written next is encoded as if the film began there. Raises MediaError, StorageError.
        """
        with self._errors():
            self._end_stretch()
        stretch, self._stretch = Packets.joined(self._stretch), []
        return stretch

    def put(self, stretch: Packets) -> None:
        """Write a stretch that a writer of the same film has cut. Raises MediaError, StorageError."""
        with self._errors():
            self._mux(list(stretch))
        self._stretch.clear()

    def commit(self) -> None:
        """Finish the file and put it into its place. Raises MediaError, StorageError.

        Without `overwrite` a file that has got the output's name meanwhile stays.
        """
        assert self._container is not None and self._file is not None
        with self._errors():
            self._end_stretch()
            if self._tracks is not None:
                self._tracks.copy_rest()
            self._container.close()
            if self._provenance and self._container_kind.muxer == "mp4":
                provenance.append_xmp_box(self._file.file)
            if self._credentials is not None:
                self._sign(self._credentials)
            self._file.commit()
        self._committed = True
        if self._tracks is not None:
            self._tracks.close()

    def _sign(self, credentials: Credentials) -> None:
        assert self._file is not None
        unsigned, self._file = self._file, OutputFile(self._output, self._overwrite)
        with unsigned:
            credentials.sign(unsigned.file, self._file.file, self._output.suffix)

    def _open(self) -> None:
        self._fall_back()
        self._square_pixels()
        pix_fmt, warnings = encoders.pixel_format(self._encoder, self._info)
        self._warnings += warnings
        if self._info.other_video:
            self._warnings.append(f"{self._info.other_video} further video track(s) are left out")
        if self._info.interlaced:
            self._warnings.append(
                "its frames are interlaced and are written as they are, as progressive ones"
            )
        if self._info.dynamic_hdr:
            self._warnings.append("its dynamic HDR metadata (Dolby Vision or HDR10+) is left out")
        if self._info.hdr_metadata.mastering and not encoders.carries_hdr_metadata(self._encoder):
            self._warnings.append(f"{self._encoder.name} does not carry the mastering display's values")
        with self._errors():
            self._file = OutputFile(self._output, self._overwrite)
            self._container = av.open(
                self._file.address,
                "w",
                format=self._container_kind.muxer,
                container_options=self._muxer_options(),
            )
            self._stream = self._add_video(self._container, pix_fmt)
            if not self._new:
                self._tracks = TrackCopier(
                    self._info, self._container, self._container_kind, start=self._start, end=self._end
                )
                self._copy_metadata(self._tracks.source, self._stream, self._container)
            if self._provenance:
                provenance.mark(self._container.metadata, self._container_kind.muxer)
            assert isinstance(self._stream.codec_context, VideoCodecContext)
            self._context = self._stream.codec_context
            encoders.open_encoder(self._context)
            self._container.start_encoding()

    def _fall_back(self) -> None:
        if not self._encoder.hardware:
            return
        pix_fmt, _ = encoders.pixel_format(self._encoder, self._info)
        why = encoders.unusable(self._encoder, self._info.width, self._info.height, pix_fmt)
        if why is None:
            return
        self._warnings.append(f"{self._encoder.name} cannot be used here ({why}); encoding in software")
        self._encoder = encoders.software(self._encoder)
        encoders.check_size(self._encoder, self._info)
        preset = self._preset if self._preset in self._encoder.presets else None
        self._options = self._encoder.options(self._quality, preset, self._info.hdr_metadata)

    def _square_pixels(self) -> None:
        """Take the pixel aspect out of the picture where neither stream nor container would carry it.

        AV1 and VP9 leave it to the container, and PyAV cannot give it to FFmpeg's Matroska muxer.
        """
        kind, aspect = self._container_kind, self._info.pixel_aspect
        if aspect == 1 or kind.negative_times or self._encoder.codec in ("h264", "hevc"):
            return
        width = max(round(self._info.width * aspect / 2) * 2, 2)
        self._info = replace(self._info, width=width, pixel_aspect=Fraction(1))
        self._warnings.append(
            f"{self._encoder.codec} in a {kind.suffix} file has square pixels here; the picture is scaled to"
            f" {width}x{self._info.height}"
        )

    def _muxer_options(self) -> dict[str, str]:
        if self._container_kind.muxer in ("mp4", "mov"):
            # The index in front, so that the file plays while it is loaded.
            return {"movflags": "+faststart"}
        # Without it the muxer moves the whole film when the audio begins a little before it.
        return {"avoid_negative_ts": "disabled"}

    def _add_video(self, container: OutputContainer, pix_fmt: str) -> VideoStream:
        info = self._info
        stream = container.add_stream(
            self._encoder.library,
            rate=min(self._rate, Fraction(self._encoder.highest_rate)).limit_denominator(1 << 20),
            options=self._options,
            width=info.width,
            height=info.height,
            time_base=self._time_base,
        )
        assert isinstance(stream, VideoStream)
        context = stream.codec_context
        assert isinstance(context, VideoCodecContext)
        self._configure(context, pix_fmt)
        return stream

    def _next_context(self) -> VideoCodecContext:
        """An encoder like the stream's own, for another stretch."""
        assert self._stream is not None
        first = self._stream.codec_context
        assert isinstance(first, VideoCodecContext) and first.pix_fmt is not None
        context = av.CodecContext.create(self._encoder.library, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = first.width, first.height
        context.time_base, context.framerate = first.time_base, first.framerate
        context.options = self._options
        # Among them the container's wish that parameter sets stand in the header.
        context.flags = first.flags
        self._configure(context, first.pix_fmt)
        encoders.open_encoder(context)
        return context

    def _configure(self, context: VideoCodecContext, pix_fmt: str) -> None:
        info = self._info
        context.pix_fmt = pix_fmt
        context.thread_count = self._threads
        # Without it frame durations are ignored, and the last frame's is lost.
        context.flags |= Flags.frame_duration
        context.sample_aspect_ratio = info.pixel_aspect
        context.color_primaries = info.colour.primaries
        context.color_trc = info.colour.transfer
        context.colorspace = info.colour.matrix
        context.color_range = colour.FULL if info.pix_fmt.startswith("yuvj") else info.colour.range
        if self._encoder.codec == "hevc" and self._container_kind.muxer in ("mp4", "mov"):
            # Players of Apple's know HEVC by this tag only.
            context.codec_tag = "hvc1"

    def _copy_metadata(self, source: InputContainer, stream: VideoStream, output: OutputContainer) -> None:
        output.metadata.update(
            {key: value for key, value in source.metadata.items() if key.lower() not in _DROPPED_METADATA}
        )
        video = source.streams[self._info.stream]
        stream.metadata.update({k: v for k, v in video.metadata.items() if k in ("language", "title")})
        chapters = self._cut_chapters(source.chapters())
        if chapters:
            output.set_chapters(chapters)

    def _cut_chapters(self, chapters: list[Chapter]) -> list[Chapter]:
        kept: list[Chapter] = []
        for chapter in chapters:
            base = chapter["time_base"]
            if not base:
                continue
            begin, end = chapter["start"] * base, chapter["end"] * base
            if end <= self._start or (self._end is not None and begin >= self._end):
                continue
            begin = max(begin, self._start) - self._start
            end = (min(end, self._end) if self._end is not None else end) - self._start
            moved: Chapter = {**chapter, "start": round(begin / base), "end": round(end / base)}
            kept.append(moved)
        return kept

    def _in_format(self, picture: av.VideoFrame) -> av.VideoFrame:
        assert self._stream is not None
        wanted, have = self._stream.codec_context.format, picture.format
        assert wanted is not None
        scaled = wanted.width != picture.width
        if wanted.name == have.name and not scaled:
            return picture
        if not scaled and wanted.name.replace("yuvj", "yuv") == have.name.replace("yuvj", "yuv"):
            renamed = av.VideoFrame(picture.width, picture.height, wanted.name)
            copy_properties(picture, renamed)
            for plane, into in zip(colour.planes(picture), colour.planes(renamed), strict=True):
                into[...] = plane
            return renamed
        full = colour.FULL if have.name.startswith("yuvj") else picture.color_range
        return self._converter.reformat(
            picture,
            wanted.width,
            wanted.height,
            wanted.name,
            interpolation=Interpolation.BICUBIC,
            src_color_range=full,
            dst_color_range=full,
            threads=1,
        )

    def _end_stretch(self) -> None:
        if self._context is None or not self._written:
            return
        last = self._context.encode(None)
        if self._written <= 2:
            # One or two frames cannot be reordered; x265 gives them decoding times it never set.
            for packet in last:
                packet.dts = packet.pts
        self._mux(last)
        self._context, self._written = None, 0

    def _mux(self, packets: list[av.Packet[VideoStream]]) -> None:
        assert self._container is not None and self._stream is not None
        if self._in_stretches:
            self._stretch.append(Packets.of(packets, self._time_base))
        for packet in packets:
            packet.stream = self._stream
            if packet.dts is not None:
                # A stretch's first decoding times lie before its first frame, where the last's may still be.
                if self._last_dts is not None and packet.dts <= self._last_dts:
                    packet.dts = self._last_dts + 1
                self._last_dts = packet.dts
            at = packet.dts if packet.dts is not None else packet.pts
            if at is not None and self._tracks is not None:
                self._tracks.copy_until(at * packet.time_base)
            self._container.mux_one(packet)

    def _discard(self) -> None:
        """Leave nothing behind.

        The file goes first: the muxer then cannot open it again to move the index to its front, which would
        copy all that was written.
        """
        if self._file is not None:
            self._file.discard()
        if self._tracks is not None:
            self._tracks.close()
        if self._container is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
                self._container.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except RunnerError:
            raise
        except FileExistsError as error:
            raise StorageError(f"{self._output} {error.strerror}; say --overwrite to replace it") from None
        except (av.error.FFmpegError, OSError, ValueError) as error:
            code = getattr(error, "errno", None)
            if code in _STORAGE_ERRORS:
                raise StorageError(f"{self._output} cannot be written: {os.strerror(code)}") from None
            raise MediaError(f"{self._output} cannot be encoded: {reason(error)}") from None


_STORAGE_ERRORS: Final = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.ENOENT,
        errno.ENAMETOOLONG,
    }
)
