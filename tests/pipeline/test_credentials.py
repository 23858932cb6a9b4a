"""With a certificate an output carries a C2PA manifest that verifies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import c2pa
import cv2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from facefusion_runner.errors import ConfigError
from facefusion_runner.media.provenance import SOURCE_TYPE
from tests.pipeline.conftest import SmallTask, read_clip
from tests.support.certificates import write_certificate
from tests.support.tiny_models import face_picture

KEYS = {
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.fixture
def signing(tmp_path: Path) -> dict[str, Path]:
    """Settings with a certificate and its key."""
    certificate, key = write_certificate(tmp_path / "signer", KEYS["P-256"]())
    return {"c2pa_cert": certificate, "c2pa_key": key}


def manifest(path: Path) -> dict[str, Any]:
    """The active manifest of a file whose signature and hashes are right, whoever signed it."""
    with c2pa.Reader(str(path)) as reader:
        found = json.loads(reader.json())
    problems = {problem["code"] for problem in found.get("validation_status", ())}
    assert problems <= {"signingCredential.untrusted"}
    assert found["validation_state"] == "Valid"
    return dict(found["manifests"][found["active_manifest"]])


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.jpg", "out.png", "out.webp"])
def test_the_manifest_says_that_the_output_is_made(
    task: SmallTask, signing: dict[str, Path], name: str
) -> None:
    target, output = task.folder / "target.mp4", task.folder / name
    if output.suffix not in (".mp4", ".mov"):
        target = task.folder / "target.png"
        cv2.imwrite(str(target), face_picture((400, 300), 90))
    task.run(target=target, output=output, **signing)
    found = manifest(output)
    actions = [each for each in found["assertions"] if each["label"].startswith("c2pa.actions")]
    assert actions[0]["data"]["actions"][0]["digitalSourceType"] == SOURCE_TYPE
    assert found["signature_info"]["common_name"] == "Signer"
    task.output = output
    assert set(task.leftovers()) <= {"signer", "target.png"}


@pytest.mark.parametrize("kind", KEYS)
def test_the_usual_kinds_of_keys_serve(task: SmallTask, tmp_path: Path, kind: str) -> None:
    certificate, key = write_certificate(tmp_path / kind, KEYS[kind]())
    task.run(c2pa_cert=certificate, c2pa_key=key)
    assert manifest(task.output)


def test_a_signed_film_has_all_its_frames(task: SmallTask, signing: dict[str, Path]) -> None:
    task.run()
    unsigned = read_clip(task.output)
    task.run(overwrite=True, **signing)
    signed = read_clip(task.output)
    assert len(signed) == 12
    assert all((a == b).all() for a, b in zip(signed, unsigned, strict=True))


def test_a_change_of_a_signed_film_is_seen(task: SmallTask, signing: dict[str, Path]) -> None:
    task.run(**signing)
    content = bytearray(task.output.read_bytes())
    place = content.rindex(b"mdat") + 400
    content[place] ^= 1
    task.output.write_bytes(content)
    with c2pa.Reader(str(task.output)) as reader:
        found = json.loads(reader.json())
    assert found["validation_state"] == "Invalid"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c2pa_cert": "absent.pem"}, r"C2PA_CERT=.*absent.pem cannot be read"),
        ({"c2pa_key": "absent.pem"}, r"C2PA_KEY=.*absent.pem cannot be read"),
        ({"c2pa_key": "source.png"}, r"C2PA_KEY=.*source.png: no private key"),
        ({"c2pa_cert": "source.png"}, r"C2PA_CERT=.*source.png: no certificate"),
        ({"c2pa_key": "other/key.pem"}, r"is not the certificate of C2PA_KEY"),
        ({"output": "out.mkv"}, r"a .mkv file cannot hold a C2PA manifest"),
    ],
)
def test_what_cannot_be_signed_is_refused_before_work_starts(
    task: SmallTask, signing: dict[str, Path], change: dict[str, str], message: str
) -> None:
    write_certificate(task.folder / "other", KEYS["P-256"]())
    changes = {name: task.folder / value for name, value in change.items()}
    with pytest.raises(ConfigError, match=message):
        task.run(**{**signing, **changes})
    assert task.reporter.stages() == ["checking"]


def test_without_the_library_the_user_learns_how_to_get_it(
    task: SmallTask, signing: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(ConfigError, match="pip install c2pa-python"):
        task.run(**signing)


def test_certificate_key_and_provenance_go_together(task: SmallTask, signing: dict[str, Path]) -> None:
    for name in signing:
        with pytest.raises(ConfigError, match="C2PA_CERT and C2PA_KEY go together"):
            task.run(**{name: signing[name]})
    with pytest.raises(ConfigError, match="do not switch it off"):
        task.run(**signing, provenance=False)
