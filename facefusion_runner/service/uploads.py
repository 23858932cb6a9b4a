"""Takes a multipart request apart while it arrives: files go to the disk, never into memory, never too far.

What a part is called in the request never becomes a name on the disk.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from fastapi import Request
from multipart import (
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)
from starlette.requests import ClientDisconnect

from facefusion_runner.errors import StorageError
from facefusion_runner.service.context import Context
from facefusion_runner.service.errors import ApiError

IDLE_SECONDS: Final = 20.0
"""Nothing arrives for so long: the sender is gone."""
_FIRST_SECONDS: Final = 60.0
_SLOWEST: Final = 8_000
"""Bytes per second on the whole, after the first minute; slower senders would hold places for days."""
_LONGEST_FIELD: Final = 64 << 10
_CHUNK: Final = 1 << 20
_MOST_FIELDS: Final = 16


@dataclass(slots=True)
class Upload:
    """What arrived."""

    folder: Path
    files: dict[str, list[str]] = field(default_factory=dict)
    """Names in the folder, by the part's name."""
    fields: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file in hexadecimal."""
    bytes: int = 0
    kept: bool = False
    """Whether the folder has become a task's."""


def declared_bytes(request: Request, limit: int) -> int:
    """How large the request says it is; 0 where it does not. ApiError above `limit`."""
    text = request.headers.get("content-length", "")
    declared = int(text) if text.isdecimal() else 0
    if declared > limit:
        raise _too_large(limit)
    return declared


@asynccontextmanager
async def received(
    request: Request, context: Context, files: Mapping[str, int], fields: frozenset[str]
) -> AsyncIterator[Upload]:
    """What the request brings, in a folder that is deleted at the block's end unless the upload is `kept`.

    `files`: how many parts of each name may come. Raises ApiError and StorageError.
    """
    try:
        folder = await asyncio.to_thread(context.files.new_upload)
    except OSError as error:
        raise StorageError(f"no upload can be stored: {error.strerror}") from None
    upload = Upload(folder)
    try:
        await _receive(request, upload, files, fields, context.settings.max_upload_bytes)
        context.metrics.uploaded(upload.bytes)
        yield upload
    finally:
        if not upload.kept:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _receive(
    request: Request, upload: Upload, files: Mapping[str, int], fields: frozenset[str], limit: int
) -> None:
    boundary = _boundary(request)
    parts = _Parts(upload, files, fields)
    parser = PushMultipartParser(
        boundary,
        max_header_size=8 << 10,
        max_header_count=8,
        max_segment_count=sum(files.values()) + _MOST_FIELDS,
        strict=True,
    )
    try:
        with parser:
            async for chunk in _chunks(request, limit, upload):
                for event in parser.parse(chunk):
                    await parts.take(event)
    except ParserLimitReached as error:
        raise ApiError(
            413, "too_large", f"the multipart request has too many or too long parts: {error}"
        ) from None
    except (MultipartError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, "bad_multipart", f"not a multipart request that can be read: {error}") from None
    finally:
        await parts.close()


async def _chunks(request: Request, limit: int, upload: Upload) -> AsyncIterator[bytes]:
    stream = request.stream()
    started = time.monotonic()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream, None), IDLE_SECONDS)
        except TimeoutError:
            raise _too_slow(f"nothing arrived for {IDLE_SECONDS:g} s") from None
        except ClientDisconnect:
            raise ApiError(400, "cut_short", "the connection ended before the upload did") from None
        if chunk is None:
            return
        upload.bytes += len(chunk)
        if upload.bytes > limit:
            raise _too_large(limit)
        if time.monotonic() - started > _FIRST_SECONDS + upload.bytes / _SLOWEST:
            raise _too_slow(f"less than {_SLOWEST} bytes a second arrive")
        if chunk:
            yield chunk


class _Parts:
    """Puts each part where it belongs."""

    def __init__(self, upload: Upload, files: Mapping[str, int], fields: frozenset[str]) -> None:
        self._upload = upload
        self._files = files
        self._fields = fields
        self._counts: Counter[str] = Counter()
        self._name = ""
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self._waiting = bytearray()

    async def take(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        if isinstance(event, MultipartSegment):
            await self._begin(event)
        elif event is None:
            await self._end()
        else:
            self._waiting += event
            if self._file is None and len(self._waiting) > _LONGEST_FIELD:
                raise ApiError(413, "too_large", f"{self._name} is longer than {_LONGEST_FIELD} bytes")
            if len(self._waiting) >= _CHUNK:
                await self._flush()

    async def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):
                await asyncio.to_thread(file.close)

    async def _begin(self, segment: MultipartSegment) -> None:
        name = self._name = segment.name
        self._counts[name] += 1
        if name in self._files:
            if self._counts[name] > self._files[name]:
                raise ApiError(
                    422, "too_many", f"{self._files[name]} parts {name} are the most that are taken"
                )
            stored = name if self._files[name] == 1 else f"{name}-{self._counts[name]}"
            self._upload.files.setdefault(name, []).append(stored)
            self._digest = hashlib.sha256()
            self._file = await self._on_disk((self._upload.folder / stored).open, "xb")
        elif name not in self._fields:
            allowed = ", ".join([*self._files, *sorted(self._fields)])
            raise ApiError(422, "unknown_part", f"a part {name[:64]!r} is not known; there are {allowed}")
        elif self._counts[name] > 1:
            raise ApiError(422, "repeated_part", f"the part {name} came twice")

    async def _end(self) -> None:
        if self._file is None:
            self._upload.fields[self._name] = self._waiting.decode()
            self._waiting.clear()
            return
        await self._flush()
        await self._on_disk(_complete, self._file)
        self._file = None
        self._upload.digests[self._upload.files[self._name][-1]] = self._digest.hexdigest()

    async def _flush(self) -> None:
        if self._file is None or not self._waiting:
            return
        file, data, digest = self._file, bytes(self._waiting), self._digest
        self._waiting.clear()

        def write() -> None:
            file.write(data)
            digest.update(data)

        await self._on_disk(write)

    async def _on_disk(self, work: Any, *arguments: Any) -> Any:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise StorageError(f"the upload cannot be stored: {error.strerror}") from None


def _complete(file: IO[bytes]) -> None:
    """A task that was taken keeps its inputs when the power fails."""
    with file:
        file.flush()
        os.fsync(file.fileno())


def _boundary(request: Request) -> str:
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != "multipart/form-data":
        raise ApiError(415, "not_multipart", "the request must be multipart/form-data")
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 200:
        raise ApiError(400, "bad_multipart", "the Content-Type names no usable boundary")
    return str(boundary)


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too_large", f"the request is larger than the {limit} bytes that are taken")


def _too_slow(why: str) -> ApiError:
    return ApiError(408, "too_slow", f"the upload came too slowly: {why}", headers={"Connection": "close"})
