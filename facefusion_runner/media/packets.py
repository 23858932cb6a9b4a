"""Encoded packets as plain values, which outlast the encoder and the process that made them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Self, cast

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Packets:
    """Packets of one stream, in the order of decoding."""

    data: NDArray[np.uint8]
    """All bytes, one packet after the other."""
    sizes: NDArray[np.int64]
    """(n,)"""
    times: NDArray[np.int64]
    """(n, 3): when each is decoded and shown, and for how long, in units of `time_base`."""
    keys: NDArray[np.bool_]
    """(n,): decoding may begin here."""
    time_base: Fraction

    @classmethod
    def of(cls, packets: Iterable[Packet[VideoStream]], time_base: Fraction) -> Self:
        """Copies; the packets must have both times."""
        taken = list(packets)
        contents = [bytes(packet) for packet in taken]
        times = [[packet.dts, packet.pts, packet.duration or 0] for packet in taken]
        return cls(
            np.frombuffer(b"".join(contents), np.uint8),
            np.array([len(content) for content in contents], np.int64),
            np.array(times, np.int64).reshape(-1, 3),
            np.array([packet.is_keyframe for packet in taken], bool),
            time_base,
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All packets of at least one part, in their order."""
        data, sizes, times, keys = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("data", "sizes", "times", "keys")
        )
        return cls(data, sizes, times, keys, parts[0].time_base)

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        """New packets of no stream."""
        ends = np.cumsum(self.sizes)
        for size, end, (dts, pts, duration), key in zip(
            self.sizes.tolist(), ends.tolist(), self.times.tolist(), self.keys.tolist(), strict=True
        ):
            packet = cast("Packet[VideoStream]", Packet(self.data[end - size : end].tobytes()))
            packet.dts, packet.pts, packet.duration = dts, pts, duration
            packet.time_base = self.time_base
            packet.is_keyframe = key
            yield packet
