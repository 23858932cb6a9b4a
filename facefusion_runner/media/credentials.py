"""Signed statements about an output: a C2PA manifest (Content Credentials, C2PA Specification 2) in the file.

Needs the package c2pa-python, the extra `c2pa`. No timestamp authority is asked: nothing leaves the machine.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import IO, Any, Final

from facefusion_runner import __version__
from facefusion_runner.errors import ConfigError, StorageError
from facefusion_runner.media.provenance import SOURCE_TYPE

MEDIA_TYPES: Final = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
}
"""The names of files that can hold a manifest."""

_MANIFEST: Final = {
    "claim_generator_info": [{"name": "facefusion-runner", "version": __version__}],
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {
                "actions": [
                    {
                        "action": "c2pa.created",
                        "digitalSourceType": SOURCE_TYPE,
                        "softwareAgent": {"name": "facefusion-runner", "version": __version__},
                    }
                ]
            },
        }
    ],
}


class Credentials:
    """Signs outputs in the name of one certificate."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Both in PEM: the signer's certificate and then those that vouch for it; the key without a password.

        Raises ConfigError.
        """
        try:
            self._c2pa = importlib.import_module("c2pa")
            serialization = importlib.import_module("cryptography.hazmat.primitives.serialization")
            x509 = importlib.import_module("cryptography.x509")
        except ImportError as error:
            raise ConfigError(
                f"C2PA_CERT needs a library that cannot be loaded ({error}); "
                "pip install c2pa-python, or leave C2PA_CERT and C2PA_KEY out"
            ) from None
        self._chain, secret = _read(certificate, "C2PA_CERT"), _read(key, "C2PA_KEY")
        try:
            private = serialization.load_pem_private_key(secret, None)
        except Exception as error:
            raise ConfigError(f"C2PA_KEY={key}: no private key in PEM without a password: {error}") from None
        try:
            public = x509.load_pem_x509_certificate(self._chain).public_key()
        except ValueError as error:
            raise ConfigError(f"C2PA_CERT={certificate}: no certificate in PEM: {error}") from None
        if public != private.public_key():
            raise ConfigError(f"C2PA_CERT={certificate} is not the certificate of C2PA_KEY={key}")
        self._key = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._algorithm = _algorithm(private, key)
        try:
            self._signer().close()
        except self._c2pa.C2paError as error:
            raise ConfigError(f"C2PA_CERT={certificate} cannot sign with C2PA_KEY={key}: {error}") from None

    def sign(self, source: IO[bytes], into: IO[bytes], suffix: str) -> None:
        """Copies a complete file of the kind `suffix`, one of `MEDIA_TYPES`, with the manifest added.

        Both are open for reading and writing. Raises StorageError.
        """
        source.seek(0)
        try:
            with self._signer() as signer, self._c2pa.Builder(json.dumps(_MANIFEST)) as builder:
                builder.sign(signer, MEDIA_TYPES[suffix.lower()], source, into)
        except self._c2pa.C2paError as error:
            raise StorageError(f"the output cannot be signed: {error}") from None

    def _signer(self) -> Any:
        return self._c2pa.Signer.from_info(
            self._c2pa.C2paSignerInfo(self._algorithm, self._chain, self._key, None)
        )


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}={path} cannot be read: {error.strerror}") from None


def _algorithm(private: Any, key: Path) -> str:
    """C2PA's name of the signature that this key makes."""
    kind, curve = type(private).__name__, getattr(getattr(private, "curve", None), "name", "")
    known = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if "Ed25519" in kind:
        return "ed25519"
    if "RSA" in kind:
        return "ps256"
    if curve in known:
        return known[curve]
    raise ConfigError(f"C2PA_KEY={key}: must be an Ed25519, RSA, P-256, P-384 or P-521 key")
