"""Requests that no client of good will sends, as bytes on the wire."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HOST = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Wire:
    name: str
    sent: bytes
    closes: bool = False
    """The client ends its side after it."""
    harmless: bool = False
    """It may be answered as if it were right."""


def part(head: bytes, content: bytes = b"x") -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + content + b"\r\n"


def disposition(name: bytes, filename: bytes | None = None) -> bytes:
    file = b"" if filename is None else b'; filename="' + filename + b'"'
    return b'Content-Disposition: form-data; name="' + name + b'"' + file


SOURCE = part(disposition(b"source", b"a.jpg"))
TARGET = part(disposition(b"target", b"b.jpg"))
END = b"--b--\r\n"


def request(
    body: bytes,
    *,
    kind: bytes = b"multipart/form-data; boundary=b",
    length: bytes | None = None,
    headers: bytes = b"",
    path: bytes = b"/v1/tasks",
) -> bytes:
    said = b"%d" % len(body) if length is None else length
    content = b"" if said == b"none" else b"Content-Length: " + said + b"\r\n"
    kind = b"" if kind == b"" else b"Content-Type: " + kind + b"\r\n"
    return b"POST " + path + b" HTTP/1.1\r\n" + HOST + content + kind + headers + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    return request(body, length=b"none", headers=b"Transfer-Encoding: chunked\r\n")


def all_requests() -> list[Wire]:
    return [*_names(), *_heads(), *_parts(), *_boundaries(), *_lengths(), *_chunks(), *_http()]


def _names() -> Iterator[Wire]:
    """Names of files go nowhere, whatever they are: what is wrong with these requests is their content."""
    files = {
        "path": b"../../../../etc/passwd",
        "absolute": b"/etc/passwd",
        "windows": b"..\\..\\windows\\win.ini",
        "nul": b"a\x00.jpg",
        "long": b"a" * 7000,
        "empty": b"",
        "dots": b"..",
        "control": bytes(range(1, 10)),
        "right to left": "\u202egpj.exe".encode(),
        "latin-1": b"\xff\xfe.jpg",
        "shell": b"$(touch x);`id`|x.jpg",
        "url": b"http://127.0.0.1:1/x.jpg",
        "store": b"tasks.sqlite3",
        "escaped": b'a\\"; name=\\"x',
        "html": b"<img src=x onerror=alert(1)>.jpg",
    }
    for name, file in files.items():
        body = part(disposition(b"source", file)) + part(disposition(b"target", file)) + END
        yield Wire(f"file name: {name}", request(body))
    for name, value in {
        "path": b"../source",
        "nul": b"source\x00",
        "empty": b"",
        "long": b"s" * 7000,
        "capital": b"Source",
        "array": b"source[]",
        "not utf-8": b"\xff\xfe",
        "surrogate": b"\xed\xa0\x80",
        "prototype": b"__proto__",
        "crlf": b"source%0D%0AX: y",
    }.items():
        yield Wire(f"part name: {name}", request(part(disposition(value, b"x")) + END))


def _heads() -> Iterator[Wire]:
    """Of a part."""
    for name, head in {
        "none": b"",
        "no name": b"Content-Disposition: form-data",
        "no disposition": b"Content-Type: image/jpeg",
        "attachment": b'Content-Disposition: attachment; name="source"',
        "two names": b'Content-Disposition: form-data; name="source"; name="target"',
        "twice": disposition(b"source") + b"\r\n" + disposition(b"target"),
        "many": b"\r\n".join(
            [disposition(b"source", b"x"), *(b"X-%d: y" % number for number in range(2000))]
        ),
        "large": disposition(b"source", b"x") + b"\r\nX: " + b"y" * 100_000,
        "no colon": b"Content-Disposition form-data",
        "folded": b'Content-Disposition: form-data;\r\n name="source"',
        "charset": disposition(b"options") + b"\r\nContent-Type: text/plain; charset=utf-7",
        "bad charset": disposition(b"options") + b"\r\nContent-Type: text/plain; charset=nonsense",
        "base64": disposition(b"source", b"x") + b"\r\nContent-Transfer-Encoding: base64",
        "length": disposition(b"source", b"x") + b"\r\nContent-Length: 99999999999",
        "nul": b"Content-Disposition: form-data\x00; name=source",
        "lf": b'Content-Disposition: form-data; name="source"\n\nx',
    }.items():
        yield Wire(f"part head: {name}", request(part(head) + TARGET + END))


def _parts() -> Iterator[Wire]:
    yield Wire("thousands of sources", request(SOURCE * 5000 + END))
    yield Wire("thousands of options", request(part(disposition(b"options"), b"{}") * 5000 + END))
    yield Wire("thousands of unknown parts", request(part(disposition(b"x")) * 5000 + END))
    yield Wire("thousands of empty parts", request(b"--b\r\n\r\n\r\n" * 5000 + END))
    for name in (b"options", b"task_id", b"webhook"):
        yield Wire(f"endless {name.decode()}", request(part(disposition(name), b"9" * 1_000_000) + END))
        yield Wire(
            f"{name.decode()} that is no text", request(part(disposition(name), b"\xff\xfe\x00") + END)
        )
        yield Wire(f"{name.decode()} alone", request(part(disposition(name), b"") + END))
    inner = b"--c\r\n" + disposition(b"source", b"x") + b"\r\n\r\nx\r\n--c--\r\n"
    for kind in (b"multipart/mixed", b"multipart/form-data"):
        head = disposition(b"source", b"x") + b"\r\nContent-Type: " + kind + b"; boundary=c"
        yield Wire(f"nested {kind.decode()}", request(part(head, inner) + TARGET + END))
    deep = b"x"
    for _ in range(200):
        deep = part(disposition(b"source", b"x") + b"\r\nContent-Type: multipart/mixed; boundary=b", deep)
    yield Wire("nested two hundred times", request(deep + END))
    yield Wire("an empty source", request(part(disposition(b"source", b"a"), b"") + TARGET + END))
    yield Wire("a source without a file name", request(part(disposition(b"source")) + TARGET + END))
    yield Wire("options as a file", request(part(disposition(b"options", b"o.json"), b"[" * 60_000) + END))


def _boundaries() -> Iterator[Wire]:
    body = SOURCE + TARGET + END
    for name, kind in {
        "none": b"multipart/form-data",
        "empty": b"multipart/form-data; boundary=",
        "quoted empty": b'multipart/form-data; boundary=""',
        "another": b"multipart/form-data; boundary=other",
        "long": b"multipart/form-data; boundary=" + b"b" * 300,
        "not ascii": b"multipart/form-data; boundary=\xe9\xff",
        "space": b'multipart/form-data; boundary="b b"',
        "control": b'multipart/form-data; boundary="b\x01"',
        "two": b"multipart/form-data; boundary=x; boundary=y",
        "mixed": b"multipart/mixed; boundary=b",
        "related": b"multipart/related; boundary=b",
        "url-encoded": b"application/x-www-form-urlencoded",
        "json": b"application/json",
        "nonsense": b";;;=",
        "nothing": b"",
        "comma": b"multipart/form-data, boundary=b",
    }.items():
        yield Wire(f"boundary: {name}", request(body, kind=kind))
    for name, text in {
        "nothing": b"",
        "end alone": END,
        "no end": SOURCE + TARGET,
        "half an end": SOURCE + TARGET + b"--b-",
        "no first": SOURCE[5:] + END,
        "begun only": b"--b",
        "head only": b"--b\r\n" + disposition(b"source"),
        "lf only": body.replace(b"\r\n", b"\n"),
        "cr only": body.replace(b"\r\n", b"\r"),
        "preamble": b"x" * 70_000 + body,
        "after the end": body + b"GET / HTTP/1.1\r\n" * 1000,
        "two ends": SOURCE + END + TARGET + END,
        "dashes": b"-" * 200_000,
        "line ends": b"\r\n" * 100_000,
        "zeros": bytes(200_000),
        "near boundaries": SOURCE[:-2] + b"\r\n--" * 50_000 + END,
    }.items():
        yield Wire(f"body: {name}", request(text))


def _lengths() -> Iterator[Wire]:
    body = SOURCE + TARGET + END
    for name, length in {
        "negative": b"-1",
        "words": b"many",
        "huge": b"9" * 19,
        "beyond": b"9" * 40,
        "hexadecimal": b"0x10",
        "signed": b"+100",
        "fraction": b"1.5",
        "empty": b"",
        "two": b"5, 6",
        "none": b"0",
        "spaces": b"1 0",
    }.items():
        yield Wire(f"length: {name}", request(body, length=length))
    yield Wire("length: twice", request(body, headers=b"Content-Length: 1\r\n"))
    yield Wire("length: too long, then gone", request(body, length=b"100000"), closes=True)
    yield Wire("length: too short", request(body, length=b"%d" % (len(body) - 10)), closes=True)
    yield Wire("length: and chunked", request(body, headers=b"Transfer-Encoding: chunked\r\n"), closes=True)


def _chunks() -> Iterator[Wire]:
    body = SOURCE + TARGET + END
    whole = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    for name, text in {
        "no size": b"\r\n" + body,
        "words": b"size\r\n" + body,
        "negative": b"-5\r\n" + body,
        "huge": b"F" * 16 + b"\r\n" + body,
        "beyond": b"F" * 100 + b"\r\n" + body,
        "long extension": b"5;x=" + b"y" * 100_000 + b"\r\nabcde\r\n0\r\n\r\n",
        "no line end": b"%x\r\n%bxx0\r\n\r\n" % (len(body), body),
        "trailers": whole[:-2] + b"X: y\r\n" * 5000 + b"\r\n",
        "nothing": b"0\r\n\r\n",
        "one byte each, no end": b"1\r\n-\r\n" * 20_000 + b"0\r\n\r\n",
    }.items():
        yield Wire(f"chunk: {name}", chunked(text))
    yield Wire("chunk: cut", chunked(whole[:-30]), closes=True)
    for coding in (b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"Chunked,", b"x" * 1000):
        headers = b"Transfer-Encoding: " + coding + b"\r\n"
        yield Wire(
            f"coding: {coding[:20].decode()}", request(whole, length=b"none", headers=headers), closes=True
        )
    yield Wire("content coding", request(body, headers=b"Content-Encoding: gzip\r\n"))


def _http() -> Iterator[Wire]:
    for name, sent in {
        "large head": request(b"", headers=b"X: " + b"y" * 300_000 + b"\r\n"),
        "many headers": request(b"", headers=b"".join(b"X-%d: y\r\n" % number for number in range(20_000))),
        "long path": request(b"", path=b"/v1/" + b"x" * 100_000),
        "path with control": request(b"", path=b"/v1/\x01tasks"),
        "path of another": request(b"", path=b"http://other.example/v1/tasks"),
        "asterisk": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
        "connect": b"CONNECT other.example:443 HTTP/1.1\r\n" + HOST + b"\r\n",
        "trace": b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n",
        "long method": b"X" * 5000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        "no host": b"POST /v1/tasks HTTP/1.1\r\n\r\n",
        "two hosts": b"POST /v1/tasks HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        "nonsense": b"\x00\x01\x02\x03\r\n\r\n",
        "header without colon": request(b"", headers=b"nonsense\r\n"),
        "header with nul": request(b"", headers=b"X: a\x00b\r\n"),
        "space before colon": request(b"", headers=b"X : a\r\n"),
        "websocket": b"GET /v1/tasks/x/events HTTP/1.1\r\n"
        + HOST
        + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    }.items():
        yield Wire(f"http: {name}", sent)
    for host in (
        b"[::1",
        b"[x]",
        b"a b",
        b"\xff",
        b"x:99999",
        b"x:y",
        b"@",
        b"x" * 5000,
        b"",
        b"a/../b",
        b"?",
    ):
        # A name that cannot be one counts as none, and links begin with the address that was connected to.
        sent = b"GET /v1/tasks HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
        yield Wire(f"host: {host[:20]!r}", sent, harmless=True)
