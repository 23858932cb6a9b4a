"""The catalog: what every model is, where it comes from, and the numbers its family needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["detector", "landmarker", "encoder", "generator", "converter", "mask", "enhancer"]


class ModelEntry(BaseModel):
    """One model of the catalog."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    role: Role
    family: str
    file: str
    """File name below MODEL_ROOT; an absolute path in a user's own catalog is used as it is."""
    licence: str
    bytes: int | None = None
    sha256: str | None = None
    urls: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = Field(default_factory=dict)
    """What the family's file reads: input size, mean and std, colour order, template, …"""
