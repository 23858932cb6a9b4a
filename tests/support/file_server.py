"""A real HTTP server on this machine that serves files well, or badly in a chosen way."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Request:
    """What a client asked for."""

    path: str
    headers: dict[str, str]
    sent: int = 0
    """Bytes of the body that were sent."""


Manner = Callable[["Handler", bytes], None]
"""Answers one request for a file's content."""


@dataclass
class Files:
    """What the server holds, and what it was asked."""

    contents: dict[str, bytes] = field(default_factory=dict)
    manners: dict[str, list[Manner]] = field(default_factory=dict)
    """Per path, the manner of each coming request; afterwards files are served well."""
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def put(self, path: str, content: bytes, *manners: Manner) -> str:
        """Holds `content` at `path`; its address."""
        self.contents[path] = content
        self.manners[path] = list(manners)
        return self.url + path

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


class Handler(BaseHTTPRequestHandler):
    files: Files
    request_line: Request

    def do_GET(self) -> None:
        self.request_line = Request(self.path, dict(self.headers))
        self.files.requests.append(self.request_line)
        manners = self.files.manners.get(self.path, [])
        manner = manners.pop(0) if manners else well
        with contextlib.suppress(ConnectionError):
            manner(self, self.files.contents.get(self.path, b""))

    def head(self, status: int, **headers: str | int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def body(self, content: bytes) -> None:
        self.wfile.write(content)
        self.wfile.flush()
        self.request_line.sent += len(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps quiet."""


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def well(handler: Handler, content: bytes) -> None:
    """As a good server does, ranges and If-Range included."""
    start = asked_from(handler)
    valid = handler.headers.get("If-Range") in (None, etag(content))
    if start and valid and start >= len(content):
        handler.head(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
    elif start and valid:
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        handler.head(206, Content_Length=len(content) - start, Content_Range=span, ETag=etag(content))
        handler.body(content[start:])
    else:
        handler.head(200, Content_Length=len(content), ETag=etag(content))
        handler.body(content)


def asked_from(handler: Handler) -> int:
    match = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
    return int(match[1]) if match else 0


def without_ranges(handler: Handler, content: bytes) -> None:
    handler.head(200, Content_Length=len(content))
    handler.body(content)


def from_elsewhere(handler: Handler, content: bytes) -> None:
    """Continues at another byte than asked."""
    span = f"bytes 1-{len(content) - 1}/{len(content)}"
    handler.head(206, Content_Length=len(content) - 1, Content_Range=span)
    handler.body(content[1:])


def status(code: int) -> Manner:
    return lambda handler, content: handler.head(code, Content_Length=0)


def redirect(url: str) -> Manner:
    return lambda handler, content: handler.head(302, Location=url, Content_Length=0)


def cut(after: int) -> Manner:
    """Promises the rest and closes after some bytes."""

    def manner(handler: Handler, content: bytes) -> None:
        start = asked_from(handler)
        span = f"bytes {start}-{len(content) - 1}/{len(content)}"
        code, extra = (206, {"Content_Range": span}) if start else (200, {})
        handler.head(code, Content_Length=len(content) - start, ETag=etag(content), **extra)
        handler.body(content[start : start + after])

    return manner


def stall(after: int) -> Manner:
    """Sends some bytes and then nothing, for as long as the server lives."""

    def manner(handler: Handler, content: bytes) -> None:
        handler.head(200, Content_Length=len(content), ETag=etag(content))
        handler.body(content[:after])
        handler.files.closing.wait(60)

    return manner


def drip(handler: Handler, content: bytes) -> None:
    """Twenty bytes a second: never silent, never done."""
    handler.head(200, Content_Length=len(content))
    for i in range(len(content)):
        if handler.files.closing.wait(0.05):
            return
        handler.body(content[i : i + 1])


def length(claimed: int) -> Manner:
    """Claims another length than the file has."""

    def manner(handler: Handler, content: bytes) -> None:
        handler.head(200, Content_Length=claimed)
        handler.body(content[:claimed])

    return manner


def without_length(handler: Handler, content: bytes) -> None:
    handler.head(200)
    handler.body(content)


def endless(handler: Handler, content: bytes) -> None:
    """Goes on and on, up to 100 MB."""
    handler.head(200)
    for _ in range(100):
        handler.body(bytes(1_000_000))


def other(content: bytes, manner: Manner = well) -> Manner:
    """Serves something else."""
    return lambda handler, _: manner(handler, content)


def held(until: threading.Event) -> Manner:
    """Waits before it answers."""

    def manner(handler: Handler, content: bytes) -> None:
        until.wait(60)
        well(handler, content)

    return manner


@contextlib.contextmanager
def file_server() -> Iterator[Files]:
    files = Files()
    handler = type("BoundHandler", (Handler,), {"files": files})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    files.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield files
    finally:
        files.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
