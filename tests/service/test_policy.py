"""Consent, content policies and the audit log hold for the service as for `swap`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models.test_catalog import install
from tests.service.conftest import (
    REPOSITORY,
    Key,
    Media,
    Serve,
    environment,
    refused,
)

POLICY = """
class NoRed:
    name = "no-red"

    def examine(self, samples):
        roles = [sample.role for sample in samples]
        assert roles.count("target") >= 1 and "source" in roles
        for sample in samples:
            if sample.role == "target" and sample.picture[..., 2].mean() > 240:
                return "it is too red"
        return None
"""


@pytest.fixture
def policy(tmp_path: Path) -> dict[str, str]:
    """The environment in which a policy is installed."""
    site = tmp_path / "site"
    points = "[facefusion_runner.policies]\nno-red = no_red:NoRed\n"
    install(site, "no_red_package", points, no_red=POLICY)
    return {"PYTHONPATH": f"{REPOSITORY}:{site}"}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_without_consent_no_task_is_taken_where_it_must_be_stated(
    serve: Serve, pair: dict[str, Path]
) -> None:
    with serve(REQUIRE_CONSENT="true") as service:
        assert service.client.get("/v1/limits").json()["require_consent"] is True
        for options in (None, {}, {"consent": False}, {"consent": None}):
            answer = service.post(pair, options)
            refused(answer, 422, "consent_required", '"consent": true')
        service.wait_until_clean()
        task = service.make(pair, {"consent": True})
        assert service.wait(task["id"])["state"] == "succeeded"


def test_the_audit_log_holds_every_tasks_end_and_every_refusal(
    serve: Serve, media: Media, policy: dict[str, str], tmp_path: Path, alice: Key, bob: Key
) -> None:
    import cv2
    import numpy as np

    log = tmp_path / "audit.jsonl"
    red = tmp_path / "red.png"
    cv2.imwrite(str(red), np.full((64, 64, 3), (0, 0, 255), np.uint8))
    settings = {**policy, "AUDIT_LOG": str(log), "API_KEYS": f"{alice.entry},{bob.entry}"}

    with serve(**settings) as service:

        def make(source: Path, target: Path, name: str, key: Key, **options: Any) -> None:
            files = {"source": source, "target": target}
            service.make(files, options, data={"task_id": name}, headers=key.headers)

        make(media.source, media.picture, "good", alice, consent=True)
        task = service.wait("good", headers=alice.headers)
        result = service.client.get("/v1/tasks/good/result", headers=alice.headers).content

        make(media.landscape, media.picture, "faceless", bob)
        assert service.wait("faceless", headers=bob.headers)["error"]["code"] == "no_face"

        answer = service.post(
            {"source": media.source, "target": red}, data={"task_id": "red"}, headers=bob.headers
        )
        error = refused(answer, 422, "refused", "no-red", "it is too red")
        assert error["detail"] == [{"policy": "no-red", "allowed": False, "reason": "it is too red"}]
        assert service.client.get("/v1/tasks/red", headers=bob.headers).status_code == 404

        make(media.source, media.long_clip, "running", alice)
        make(media.source, media.picture, "queued", alice)
        service.wait("running", "running", headers=alice.headers)
        for name in ("queued", "running"):
            service.client.delete(f"/v1/tasks/{name}", headers=alice.headers)
        service.wait("running", headers=alice.headers)
        assert service.leftovers() == []

    lines = {line["task_id"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert {name: (line["outcome"], line["code"], line["key"]) for name, line in lines.items()} == {
        "good": ("succeeded", None, "alice"),
        "faceless": ("failed", "no_face", "bob"),
        "red": ("refused", "refused", "bob"),
        "queued": ("cancelled", None, "alice"),
        "running": ("cancelled", None, "alice"),
    }
    good = lines["good"]
    assert good["consent"] is True and lines["faceless"]["consent"] is False
    assert good["sha256"] == {
        "sources": [sha256(media.source)],
        "target": sha256(media.picture),
        "reference": None,
        "output": hashlib.sha256(result).hexdigest(),
    }
    assert task["result"]["bytes"] == len(result)
    assert lines["red"]["sha256"]["target"] == sha256(red)
    assert [verdict["allowed"] for verdict in good["verdicts"]] == [True]
    assert alice.value not in log.read_text()

    checked = subprocess.run(
        [sys.executable, "-m", "facefusion_runner", "audit", "verify", str(log)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_an_output_that_cannot_be_recorded_is_not_handed_out(
    serve: Serve, pair: dict[str, Path], tmp_path: Path
) -> None:
    log = tmp_path / "logs" / "audit.jsonl"
    log.parent.mkdir()
    with serve(AUDIT_LOG=str(log)) as service:
        log.unlink()
        log.mkdir()
        task = service.wait(service.make(pair)["id"])
        assert task["state"] == "failed" and task["error"]["code"] == "storage_failed"
        assert list((service.data / "tasks" / task["id"]).iterdir()) == []
        log.rmdir()
        assert service.wait(service.make(pair)["id"])["state"] == "succeeded"
    assert len(log.read_text().splitlines()) == 1
