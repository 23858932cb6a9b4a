"""The log says what happened, one event a line, and nothing that is nobody's business."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.service.conftest import Key, Media, Serve, environment


def test_a_line_is_an_event_and_holds_no_names_and_no_keys(
    serve: Serve, media: Media, alice: Key, tmp_path: Path
) -> None:
    named = {"source": ("grandmother.jpg", media.source.read_bytes())}
    target = ("birthday.jpg", media.picture.read_bytes())
    damaged = ("diary.mp4", media.clip.read_bytes()[:3000])
    with serve(API_KEYS=alice.entry) as service:
        task = service.make({**named, "target": target}, headers=alice.headers)
        ended = service.wait(task["id"], headers=alice.headers)
        service.client.get(ended["result"]["url"])
        service.post({**named, "target": damaged}, headers=alice.headers)
        service.client.get("/v1/tasks", headers={"Authorization": "Bearer ffr_guessed"})
        service.client.get("/v1/tasks", params={"state": "private"}, headers=alice.headers)
        service.client.delete(f"/v1/tasks/{task['id']}", headers=alice.headers)
        folder = service.folder
    events = [json.loads(line) for line in (folder / "service.log").read_text().splitlines()]
    for event in events:
        assert {"event", "level", "timestamp"} <= set(event)
    names = [event["event"] for event in events]
    story = ["listening", "task queued", "task begun", "task ended", "task deleted", "shutting down"]
    assert [name for name in names if name in story] == story
    about = [event for event in events if event.get("task") == task["id"]]
    assert len(about) == 4 and about[0]["key"] == "alice"
    (_, digest) = alice.entry.split(":")
    text = (folder / "service.log").read_text()
    signature = ended["result"]["url"].rpartition("signature=")[2]
    for secret in ("grandmother", "birthday", "diary", alice.value, digest, "ffr_", signature, "private"):
        assert secret not in text, secret


def test_what_monitors_ask_all_the_time_is_not_logged(serve: Serve) -> None:
    with serve() as service:
        for path in ("/healthz", "/readyz", "/metrics"):
            service.client.get(path)
        service.client.get("/v1/limits")
        assert [event["route"] for event in service.events("request")] == ["/v1/limits"]


def test_a_terminal_gets_text(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "facefusion_runner", "serve"],
        env=environment(tmp_path, LOG_FORMAT="auto"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    try:
        deadline = time.monotonic() + 60
        while b"listening" not in shown and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                shown += os.read(ours, 4096)
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        os.close(ours)
    assert b"listening" in shown and b"url" in shown and b"{" not in shown
