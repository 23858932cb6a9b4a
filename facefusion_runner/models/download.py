"""Fetches one file from a list of addresses: resumed, checked while it streams, bounded in every way.

What has arrived lies in a partial file, so that a later try, or a later process, goes on where this one
ended. The SHA-256 decides in the end; the addresses need not be trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import httpx

from facefusion_runner import __version__
from facefusion_runner.errors import ModelError, StorageError
from facefusion_runner.models.digests import sha256_of

Progress = Callable[[int, int | None], None]
"""Takes the bytes that have arrived, and all of them where that is known. What it raises ends the
download and leaves the partial file for the next."""

SLOWEST: Final = 1024
"""Bytes per second; a connection that stays below for a whole stall time counts as stalled."""

ENOUGH: Final = 1 << 20
"""Bytes a failed try must have brought for the tries to be counted anew: a line that is cut again and
again, but brings the file nearer, is not given up."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try."""

    tries: int = 4
    """Of one address, without progress between them."""
    calls: int = 2
    """The same while not even a connection comes about: mostly there is no network at all."""
    backoff: float = 1.0
    """Seconds before the second try; doubled for each after it, up to 30."""
    connect: float = 10.0
    """Seconds for a connection."""
    stall: float = 30.0
    """Seconds without a byte, or below `SLOWEST`, after which a connection is given up."""


PATIENCE: Final = Patience()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The file that is fetched."""

    what: str
    """For messages."""
    sha256: str
    bytes: int | None


class _Retry(Exception):
    """The same address may do better at the next try."""


class _Unreachable(_Retry):
    """There was no connection."""


class _Useless(Exception):
    """This address will not give the file."""


def download(
    urls: tuple[str, ...],
    partial: Path,
    wanted: Wanted,
    progress: Progress,
    patience: Patience = PATIENCE,
) -> None:
    """Leaves the whole, checked file at `partial`.

    ModelError when no address gives it, saying for each why. StorageError when the disk is full; the
    partial file is then deleted.
    """
    faults = []
    headers = {"User-Agent": f"facefusion-runner/{__version__}", "Accept-Encoding": "identity"}
    timeout = httpx.Timeout(patience.stall, connect=patience.connect)
    with httpx.Client(headers=headers, timeout=timeout, follow_redirects=True) as client:
        for url in urls:
            try:
                _from_address(_Transfer(client, url, partial, wanted, progress, patience.stall), patience)
                _state_file(partial).unlink(missing_ok=True)
                return
            except _Useless as fault:
                faults.append(f"{url}: {fault}")
    raise ModelError(f"{wanted.what} could not be downloaded: {'; '.join(faults)}")


def discard(partial: Path) -> None:
    """Deletes a partial file and what is known of it."""
    partial.unlink(missing_ok=True)
    _state_file(partial).unlink(missing_ok=True)


def _from_address(transfer: _Transfer, patience: Patience) -> None:
    failed = 0
    while True:
        had = transfer.size()
        try:
            transfer.run()
            return
        except _Retry as fault:
            failed = 1 if transfer.size() - had >= ENOUGH else failed + 1
            if failed >= (patience.calls if isinstance(fault, _Unreachable) else patience.tries):
                raise _Useless(f"{fault} (given up after {failed} tries)") from fault
            time.sleep(min(30.0, patience.backoff * 2 ** (failed - 1)))


class _Transfer:
    """One address and the partial file."""

    def __init__(
        self,
        client: httpx.Client,
        url: str,
        partial: Path,
        wanted: Wanted,
        progress: Progress,
        stall: float,
    ) -> None:
        self._client = client
        self._url = url
        self._partial = partial
        self._wanted = wanted
        self._progress = progress
        self._stall = stall

    def size(self) -> int:
        """Bytes of the partial file."""
        try:
            return self._partial.stat().st_size
        except FileNotFoundError:
            return 0

    def run(self) -> None:
        """One connection. `_Retry` and `_Useless` say why the file is not complete and right afterwards."""
        have = self.size()
        if self._wanted.bytes is not None and have > self._wanted.bytes:
            discard(self._partial)
            have = 0
        if have != self._wanted.bytes:
            if self._wanted.bytes is not None:
                self._need(self._wanted.bytes - have)
            try:
                have = self._fetch(have)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise _Useless(_describe(error)) from error
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                raise _Unreachable(_describe(error)) from error
            except httpx.HTTPError as error:
                raise _Retry(_describe(error)) from error
        self._check(resumed=have > 0)

    def _fetch(self, have: int) -> int:
        """Receives what is missing; the number of bytes that were kept."""
        with self._client.stream("GET", self._url, headers=self._range(have)) as response:
            offset = self._offset(response, have)
            total = self._total(response, offset)
            with self._storing():
                self._remember(response)
                file = self._partial.open("r+b" if offset else "wb")
            with file:
                self._receive(response, file, offset, total)
            return offset

    def _range(self, have: int) -> dict[str, str]:
        if not have:
            return {}
        state = _read_state(self._partial)
        headers = {"Range": f"bytes={have}-"}
        # If-Range makes a server whose file has changed send the whole of it.
        if state.get("url") == self._url and state.get("etag"):
            headers["If-Range"] = state["etag"]
        return headers

    def _offset(self, response: httpx.Response, have: int) -> int:
        """Where the body belongs in the file."""
        status = response.status_code
        if status == 200:
            return 0
        if status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if match and int(match[1]) == have:
                return have
        if status in (206, 416):
            discard(self._partial)
            raise _Retry(f"the server does not continue at byte {have}")
        reason = f"HTTP {status} {response.reason_phrase}".strip()
        if status >= 500 or status in (408, 425, 429):
            raise _Retry(reason)
        raise _Useless(reason)

    def _total(self, response: httpx.Response, offset: int) -> int | None:
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            return self._wanted.bytes
        total = offset + int(length)
        if self._wanted.bytes not in (None, total):
            raise _Useless(f"the server's file has {total} bytes, not {self._wanted.bytes}")
        self._need(total - offset)
        return total

    def _need(self, count: int) -> None:
        free = shutil.disk_usage(self._partial.parent).free
        if count > free:
            raise StorageError(
                f"{self._wanted.what} needs {count} more bytes, but {self._partial.parent} has {free} free"
            )

    def _remember(self, response: httpx.Response) -> None:
        # A weak tag (W/…) does not promise equal bytes, so RFC 9110 forbids it in If-Range.
        etag = response.headers.get("ETag", "")
        state = {"url": self._url, "etag": "" if etag.startswith("W/") else etag}
        _state_file(self._partial).write_text(json.dumps(state), "utf-8")

    def _receive(self, response: httpx.Response, file: BinaryIO, offset: int, total: int | None) -> None:
        file.seek(offset)
        window, start = 0, time.monotonic()
        for chunk in response.iter_raw():
            offset += len(chunk)
            if total is not None and offset > total:
                raise _Useless(f"the server sends more than {total} bytes")
            with self._storing():
                file.write(chunk)
            self._progress(offset, total)
            window += len(chunk)
            elapsed = time.monotonic() - start
            if elapsed >= self._stall:
                if window < SLOWEST * elapsed:
                    raise _Retry(f"stalled: {window} bytes in {elapsed:.0f} seconds")
                window, start = 0, time.monotonic()
        with self._storing():
            file.flush()
            os.fsync(file.fileno())

    def _check(self, *, resumed: bool) -> None:
        size = self.size()
        if self._wanted.bytes is not None and size < self._wanted.bytes:
            raise _Retry(f"the server ended after {size} of {self._wanted.bytes} bytes")
        digest = sha256_of(self._partial)
        if digest == self._wanted.sha256:
            return
        discard(self._partial)
        fault = f"the SHA-256 is {digest}, not {self._wanted.sha256}"
        # What was there before may have been the wrong part: this address gets a try of its own.
        raise _Retry(fault) if resumed else _Useless(fault)

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            discard(self._partial)
            raise StorageError(
                f"{self._wanted.what} cannot be written to {self._partial.parent}: {error.strerror or error}"
            ) from error


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _state_file(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _read_state(partial: Path) -> dict[str, str]:
    try:
        state = json.loads(_state_file(partial).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}
