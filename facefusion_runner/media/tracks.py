"""Copies the source's audio and subtitle tracks into the output as they are, packet by packet."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Stream

from facefusion_runner.media.encoders import Container
from facefusion_runner.media.probe import MediaInfo, Track, open_media, reason

_KEPT_METADATA: Final = ("language", "title", "handler_name")


@dataclass(slots=True)
class _Copied:
    track: Track
    stream: Stream
    last_dts: int | None = None


class TrackCopier:
    """Reads the source a second time, only as far as the video has come, so that memory stays bounded."""

    def __init__(
        self,
        info: MediaInfo,
        output: OutputContainer,
        container: Container,
        *,
        start: Fraction,
        end: Fraction | None,
    ) -> None:
        """Adds the streams to `output`, whose header must not be written yet.

        `start` is the time in the source that is 0 in the output; what lies before it and from `end` on is
        left out. Raises InputError when the source cannot be opened.
        """
        self.warnings: list[str] = []
        self._info = info
        self._output = output
        self._container = container
        self._start, self._end = start, end
        self._copied: dict[int, _Copied] = {}
        self.source: InputContainer = open_media(info.path)
        """The source's second demuxer; closed by `close`."""
        try:
            self._add_streams()
            self._packets: Iterator[tuple[Packet[Stream], Fraction]] = self._cut(self._demux())
            self._pending = next(self._packets, None)
        except BaseException:
            self.source.close()
            raise

    def close(self) -> None:
        # The generator refers to this object, and so would keep the output's encoder and its threads alive.
        self._packets = iter(())
        self.source.close()

    def copy_until(self, time: Fraction) -> None:
        """Write the packets up to `time` seconds of the output. Raises what the muxer raises."""
        while self._pending is not None:
            packet, at = self._pending
            if at > time:
                return
            self._write(packet)
            self._pending = next(self._packets, None)

    def copy_rest(self) -> None:
        """Write all that is left: audio may be longer than the video."""
        while self._pending is not None:
            self._write(self._pending[0])
            self._pending = next(self._packets, None)

    def _add_streams(self) -> None:
        for track in (*self._info.audio, *self._info.subtitles):
            stream = self.source.streams[track.index]
            refusal = self._refusal(stream)
            if refusal is not None:
                self.warnings.append(f"{track} is left out: {refusal}")
                continue
            added = self._output.add_stream_from_template(stream)
            added.metadata.update({k: v for k, v in stream.metadata.items() if k in _KEPT_METADATA})
            added.disposition = stream.disposition
            self._copied[track.index] = _Copied(track, added)
        if self._container.muxer == "matroska":
            for stream in self.source.streams:
                # Fonts that subtitles are drawn with.
                if isinstance(stream, AttachmentStream):
                    with contextlib.suppress(av.error.FFmpegError, ValueError):
                        self._output.add_stream_from_template(stream)
        for stream in self.source.streams:
            if stream.index not in self._copied:
                stream.discard = av.stream.Discard.all

    def _refusal(self, stream: Stream) -> str | None:
        """Why the container cannot hold a stream, found by writing a header with it; None when it can."""
        if stream.codec_context is None:
            return "its codec is not known"
        try:
            with av.open(io.BytesIO(), "w", format=self._container.muxer) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (av.error.FFmpegError, ValueError, OSError):
            name = stream.codec_context.codec.canonical_name
            return f"a {self._container.suffix} file cannot hold {name}"
        return None

    def _demux(self) -> Iterator[Packet[Stream]]:
        if not self._copied:
            return
        if self._start > 0:
            with contextlib.suppress(av.error.FFmpegError):
                self.source.seek(max(int((self._start - 1) * 1_000_000), 0))
        streams = [self.source.streams[index] for index in self._copied]
        packets = self.source.demux(*streams)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                self.warnings.append(f"audio and subtitles end early: {reason(error)}")
                return
            if packet is None:
                return
            yield packet

    def _cut(self, packets: Iterator[Packet[Stream]]) -> Iterator[tuple[Packet[Stream], Fraction]]:
        """The packets of the kept stretch, in the output's time and on its streams, with that time."""
        open_ended = set(self._copied)
        for packet in packets:
            if packet.size == 0 or (packet.pts is None and packet.dts is None):
                continue
            copied = self._copied[packet.stream_index]
            if packet.is_corrupt:
                self._warn(f"{copied.track} is damaged; packets of it are left out")
                continue
            base = packet.time_base
            time = (packet.pts if packet.pts is not None else packet.dts or 0) * base - self._start
            length = (packet.duration or 0) * base
            if self._end is not None and time >= self._end - self._start:
                open_ended.discard(packet.stream_index)
                if not open_ended:
                    return
                continue
            if not self._trim(packet, copied, time, length):
                continue
            packet.stream = copied.stream
            yield packet, time

    def _trim(self, packet: Packet[Stream], copied: _Copied, time: Fraction, length: Fraction) -> bool:
        """Shift a packet and cut it to the kept stretch; whether anything of it is left."""
        base = packet.time_base
        shift = round(self._start / base)
        dts = packet.dts if packet.dts is not None else packet.pts
        assert dts is not None
        pts = packet.pts if packet.pts is not None else dts
        if copied.track.kind == "subtitle":
            if self._start > 0 and time < 0:
                if time + length <= 0:
                    return False
                # A caption that is up when the film begins is shown for the rest of its time.
                pts += round(-time / base)
                dts = pts
                packet.duration = round((time + length) / base)
            if self._end is not None and time + length > self._end - self._start:
                packet.duration = round((self._end - self._start - max(time, Fraction(0))) / base)
        elif self._start > 0 and (time + length <= 0 or (time < 0 and not self._container.negative_times)):
            return False
        pts, dts = pts - shift, dts - shift
        if copied.last_dts is not None and dts <= copied.last_dts and copied.track.kind == "audio":
            # Muxers refuse decoding times that do not grow.
            self._warn(f"{copied.track} has timestamps out of order; they were moved")
            dts = copied.last_dts + 1
            pts = max(pts, dts)
        packet.pts, packet.dts = pts, dts
        copied.last_dts = dts
        return True

    def _write(self, packet: Packet[Stream]) -> None:
        self._output.mux_one(packet)

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
