"""Downloads over bad lines and from bad servers: whole and right, or nothing."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from facefusion_runner.errors import LicenceError, ModelError, PolicyError, StorageError
from tests.models.conftest import DIGEST, LICENCES, WEIGHTS, MakeStore, model, names_in
from tests.support.file_server import (
    Files,
    Manner,
    cut,
    drip,
    endless,
    from_elsewhere,
    held,
    length,
    other,
    redirect,
    stall,
    status,
    without_length,
    without_ranges,
)

WRONG = bytes(len(WEIGHTS))


def test_the_file_arrives_under_its_name_and_nothing_beside_it(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))
    seen: list[tuple[int, int | None]] = []
    path = store.pull(catalog.get("net"), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == WEIGHTS
    assert names_in(store.root) == {"net.onnx"}
    assert store.path(catalog.get("net")) == path
    assert seen == sorted(seen) and seen[-1] == (len(WEIGHTS), len(WEIGHTS))


def test_what_is_there_is_not_fetched_again(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))
    store.pull(catalog.get("net"))
    store.pull(catalog.get("net"))
    assert len(server.requests) == 1


def test_a_damaged_file_is_fetched_again(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))
    store.root.mkdir()
    (store.root / "net.onnx").write_bytes(WRONG)
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS


def test_a_cut_connection_goes_on_where_it_ended(make_store: MakeStore, server: Files) -> None:
    url = server.put("/net", WEIGHTS, cut(100_000), cut(50_000))
    store, catalog = make_store(model(urls=[url]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    ranges = [request.headers.get("Range") for request in server.requests]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert server.requests[1].headers["If-Range"]
    assert sum(request.sent for request in server.requests) == len(WEIGHTS)


def test_a_later_pull_goes_on_where_a_failed_one_ended(make_store: MakeStore, server: Files) -> None:
    url = server.put("/net", WEIGHTS, cut(100_000), status(503), status(503))
    store, catalog = make_store(model(urls=[url]))
    with pytest.raises(ModelError, match="HTTP 503"):
        store.pull(catalog.get("net"))
    assert not (store.root / "net.onnx").exists()
    again, catalog = make_store(model(urls=[url]))
    assert again.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert server.requests[-1].headers["Range"] == "bytes=100000-"


def test_another_address_goes_on_where_the_first_ended(make_store: MakeStore, server: Files) -> None:
    first = server.put("/first", WEIGHTS, cut(100_000), status(404))
    store, catalog = make_store(model(urls=[first, server.put("/second", WEIGHTS)]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert [request.sent for request in server.asked("/second")] == [len(WEIGHTS) - 100_000]


def test_a_server_that_ignores_ranges_gives_the_whole_file(make_store: MakeStore, server: Files) -> None:
    url = server.put("/net", WEIGHTS, cut(100_000), without_ranges)
    store, catalog = make_store(model(urls=[url]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert len(server.requests) == 2


def test_a_file_that_changed_at_the_server_is_fetched_whole(make_store: MakeStore, server: Files) -> None:
    url = server.put("/net", WEIGHTS, other(WRONG, cut(100_000)))
    store, catalog = make_store(model(urls=[url]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert server.requests[1].headers["Range"] == "bytes=100000-"
    assert server.requests[1].sent == len(WEIGHTS)


def test_a_server_that_continues_elsewhere_is_asked_for_everything(
    make_store: MakeStore, server: Files
) -> None:
    url = server.put("/net", WEIGHTS, cut(100_000), from_elsewhere)
    store, catalog = make_store(model(urls=[url]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert server.requests[2].headers.get("Range") is None


def test_a_partial_file_with_wrong_bytes_is_thrown_away(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))
    (store.root / ".downloads").mkdir(parents=True)
    (store.root / ".downloads" / "net.part").write_bytes(WRONG[:1000])
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert [request.headers.get("Range") for request in server.requests] == ["bytes=1000-", None]


def test_a_partial_file_that_is_too_long_is_thrown_away(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)], bytes=None))
    (store.root / ".downloads").mkdir(parents=True)
    (store.root / ".downloads" / "net.part").write_bytes(WEIGHTS + b"more")
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS


@pytest.mark.parametrize("manner", [stall(1000), drip], ids=["silent", "dripping"])
def test_a_stalled_server_is_given_up_for_the_next(
    make_store: MakeStore, server: Files, manner: Manner
) -> None:
    bad = server.put("/bad", WEIGHTS, *[manner] * 3)
    store, catalog = make_store(model(urls=[bad, server.put("/good", WEIGHTS)]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert len(server.asked("/bad")) == 3


@pytest.mark.parametrize("claimed", [len(WEIGHTS) - 1, len(WEIGHTS) + 1, 10**12])
def test_a_wrong_length_is_not_even_received(make_store: MakeStore, server: Files, claimed: int) -> None:
    bad = server.put("/bad", WEIGHTS, length(claimed))
    store, catalog = make_store(model(urls=[bad, server.put("/good", WEIGHTS)]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert len(server.asked("/bad")) == 1


def test_a_body_shorter_than_its_length_is_noticed(make_store: MakeStore, server: Files) -> None:
    lie = length(len(WEIGHTS) + 10)
    bad = server.put("/bad", WEIGHTS, lie, lie, lie, lie)
    store, catalog = make_store(model(urls=[bad], bytes=None))
    with pytest.raises(ModelError, match=r"net could not be downloaded: .*/bad: "):
        store.pull(catalog.get("net"))
    assert not (store.root / "net.onnx").exists()


@pytest.mark.parametrize("content", [WEIGHTS + b"more", WEIGHTS[:-5]], ids=["longer", "shorter"])
def test_a_body_without_length_is_held_to_the_catalog(
    make_store: MakeStore, server: Files, content: bytes
) -> None:
    bad = server.put("/bad", WEIGHTS, *[other(content, without_length)] * 4)
    store, catalog = make_store(model(urls=[bad]))
    with pytest.raises(ModelError, match="could not be downloaded"):
        store.pull(catalog.get("net"))
    assert not (store.root / "net.onnx").exists()


def test_a_body_without_end_is_cut_off(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS, endless)]))
    with pytest.raises(ModelError, match="more than 300000 bytes"):
        store.pull(catalog.get("net"))
    # What the sockets' buffers hold, and no more.
    assert server.requests[0].sent < 20_000_000


def test_a_wrong_digest_leaves_nothing_and_the_next_address_is_tried(
    make_store: MakeStore, server: Files
) -> None:
    bad = server.put("/bad", WRONG)
    store, catalog = make_store(model(urls=[bad, server.put("/good", WEIGHTS)]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert len(server.asked("/bad")) == 1

    store, catalog = make_store(model(id="two", file="two.onnx", urls=[bad]))
    with pytest.raises(ModelError, match=f"SHA-256 is {hashlib.sha256(WRONG).hexdigest()}, not {DIGEST}"):
        store.pull(catalog.get("two"))
    assert names_in(store.root) == {"net.onnx"}


def test_a_missing_file_is_not_asked_for_twice(make_store: MakeStore, server: Files) -> None:
    bad = server.put("/bad", WEIGHTS, status(404))
    store, catalog = make_store(model(urls=[bad, server.put("/good", WEIGHTS)]))
    store.pull(catalog.get("net"))
    assert len(server.asked("/bad")) == 1


def test_a_server_in_trouble_is_asked_again(make_store: MakeStore, server: Files) -> None:
    url = server.put("/net", WEIGHTS, status(500), status(429))
    store, catalog = make_store(model(urls=[url]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert len(server.requests) == 3


def test_tries_are_bounded_and_every_address_is_named(make_store: MakeStore, server: Files) -> None:
    first = server.put("/first", WEIGHTS, *[status(500)] * 99)
    second = server.put("/second", WEIGHTS, *[cut(0)] * 99)
    nowhere = "http://127.0.0.1:9/net"
    store, catalog = make_store(model(urls=[first, second, nowhere]))
    with pytest.raises(ModelError) as caught:
        store.pull(catalog.get("net"))
    assert len(server.requests) == 6
    message = str(caught.value)
    assert "\n" not in message
    assert all(url in message for url in (first, second, nowhere)) and "HTTP 500" in message
    assert message.count("given up after 3 tries") == 2
    assert message.endswith("(given up after 2 tries)"), "without a connection waiting helps less"


def test_redirects_are_followed(make_store: MakeStore, server: Files) -> None:
    target = server.put("/elsewhere", WEIGHTS)
    store, catalog = make_store(model(urls=[server.put("/net", b"", redirect(target))]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS


def test_a_redirect_in_a_circle_ends(make_store: MakeStore, server: Files) -> None:
    url = server.url + "/net"
    server.put("/net", b"", *[redirect(url)] * 99)
    store, catalog = make_store(model(urls=[url]))
    with pytest.raises(ModelError, match="TooManyRedirects"):
        store.pull(catalog.get("net"))


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in members.items():
            bundle.writestr(name + ".onnx", content)
    return buffer.getvalue()


def pack(url: str, archive: bytes) -> str:
    digest = hashlib.sha256(archive).hexdigest()
    return model(id="pack", role="pack", family="zip", file="p.zip", sha256=digest, bytes=None, urls=[url])


def test_a_member_of_an_archive_is_taken_when_the_file_itself_is_gone(
    make_store: MakeStore, server: Files
) -> None:
    archive = zipped(net=WEIGHTS, more=b"more")
    url = server.put("/p.zip", archive)
    direct = server.put("/net", b"", status(404))
    store, catalog = make_store(pack(url, archive), model(urls=[direct, url + "#net.onnx"]))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert names_in(store.root) == {"net.onnx", "p.zip"}


def test_an_archive_without_the_member_or_with_another_is_refused(
    make_store: MakeStore, server: Files
) -> None:
    archive = zipped(net=WRONG)
    url = server.put("/p.zip", archive)
    store, catalog = make_store(
        pack(url, archive),
        model(urls=[url + "#net.onnx"]),
        model(id="none", file="none.onnx", urls=[url + "#none.onnx"]),
    )
    with pytest.raises(ModelError, match="SHA-256"):
        store.pull(catalog.get("net"))
    with pytest.raises(ModelError, match=r"lacks a readable none\.onnx"):
        store.pull(catalog.get("none"))
    assert names_in(store.root) == {"p.zip"}


def test_offline_opens_no_connection(
    make_store: MakeStore, server: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    table = model(urls=[server.put("/net", WEIGHTS)])
    store, catalog = make_store(table)
    with pytest.raises(AssertionError, match="a connection was opened"):
        store.pull(catalog.get("net"))

    store, catalog = make_store(table, offline=True)
    with pytest.raises(PolicyError, match="OFFLINE"):
        store.pull(catalog.get("net"))
    (store.root / "net.onnx").write_bytes(WEIGHTS)
    assert store.pull(catalog.get("net")) == store.path(catalog.get("net"))
    assert not server.requests


def test_nothing_is_fetched_before_its_licence_is_accepted(make_store: MakeStore, server: Files) -> None:
    table = model(licence="strict", urls=[server.put("/net", WEIGHTS)])
    store, catalog = make_store(table)
    with pytest.raises(LicenceError, match=r"MODEL_LICENSES_ACCEPTED=strict") as caught:
        store.pull(catalog.get("net"))
    assert "https://example.org/strict" in str(caught.value)
    assert not server.requests and not store.root.exists()
    store, catalog = make_store(table, accepted=("strict",))
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS


def test_a_disk_too_small_is_noticed_before_anything_is_fetched(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(bytes=10**15, urls=[server.put("/net", WEIGHTS)]))
    with pytest.raises(StorageError, match="more bytes"):
        store.pull(catalog.get("net"))
    assert not server.requests


def test_a_disk_that_fills_up_leaves_no_partial_file(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to let any file of this process grow beyond the limit.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            store.pull(catalog.get("net"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names_in(store.root) == set()


def test_a_download_that_its_caller_ends_can_be_taken_up_again(make_store: MakeStore, server: Files) -> None:
    store, catalog = make_store(model(urls=[server.put("/net", WEIGHTS)]))

    def stop(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.pull(catalog.get("net"), stop)
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS


PULL = """
import sys
from pathlib import Path
from facefusion_runner.models.catalog import Catalog, Source
from facefusion_runner.models.store import ModelStore
root, text = Path(sys.argv[1]), sys.argv[2]
catalog = Catalog(root, [Source("test.toml", text, None, own=False)])
print("pulling", flush=True)
print(ModelStore(root, catalog).pull(catalog.get("net")), flush=True)
"""


def puller(root: Path, table: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PULL, str(root), LICENCES + table]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)
    assert process.stdout is not None and process.stdout.readline() == "pulling\n"
    return process


def test_two_processes_at_once_fetch_once(make_store: MakeStore, server: Files, tmp_path: Path) -> None:
    release = threading.Event()
    table = model(urls=[server.put("/net", WEIGHTS, held(release))])
    with puller(tmp_path / "models", table) as first, puller(tmp_path / "models", table) as second:
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(0.5)
        release.set()
        assert first.wait(30) == 0 and second.wait(30) == 0
    assert len(server.requests) == 1
    assert (tmp_path / "models" / "net.onnx").read_bytes() == WEIGHTS


def test_a_killed_download_frees_the_lock_and_is_taken_up_again(make_store: MakeStore, server: Files) -> None:
    table = model(urls=[server.put("/net", WEIGHTS, stall(100_000))])
    store, catalog = make_store(table)
    with puller(store.root, table) as process:
        partial = store.root / ".downloads" / "net.part"
        while not partial.exists() or partial.stat().st_size < 100_000:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert store.pull(catalog.get("net")).read_bytes() == WEIGHTS
    assert server.requests[-1].headers["Range"] == "bytes=100000-"
