"""Every failure a user can meet, with the exit code and the machine-readable code it ends in.

The message is one line that says what is wrong and, where there is one, the command or setting
that mends it. Anything that is not a `RunnerError` is a defect of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class RunnerError(Exception):
    """The task failed while it ran."""

    exit_code: ClassVar[int] = 1
    code: ClassVar[str] = "failed"


class MediaError(RunnerError):
    """A frame, packet or file could not be decoded or encoded; the message says where."""

    code = "media_failed"


class StorageError(RunnerError):
    """The disk is full, or a path cannot be read or written while the task runs."""

    code = "storage_failed"


class InputError(RunnerError):
    """A source, target or output path cannot be used; found before work starts where possible."""

    exit_code = 2
    code = "bad_input"


class NoFaceError(InputError):
    """A picture that must show a face shows none."""

    code = "no_face"


class ConfigError(RunnerError):
    """A setting is unknown or malformed; the message names it, its value and what is allowed."""

    exit_code = 2
    code = "bad_configuration"


class ModelError(RunnerError):
    """A model is unknown, missing, damaged or of the wrong shape."""

    exit_code = 2
    code = "model_unusable"


class LicenceError(ModelError):
    """A model's licence has not been accepted."""

    code = "licence_not_accepted"


class DeviceError(RunnerError):
    """The device asked for cannot be used."""

    exit_code = 2
    code = "device_unusable"


class PolicyError(RunnerError):
    """A policy refused the task; `detail` holds what each of them said, as data."""

    exit_code = 3
    code = "refused"

    def __init__(self, message: str, detail: Sequence[Mapping[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.detail = detail


class ConsentError(PolicyError):
    """It was not said that the persons shown agree, where that must be said."""

    code = "consent_required"


class Cancelled(RunnerError):
    """The user or a signal ended the task."""

    exit_code = 4
    code = "cancelled"
