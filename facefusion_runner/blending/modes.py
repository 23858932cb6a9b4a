"""The blend modes by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from facefusion_runner.blending.alpha import alpha
from facefusion_runner.blending.paste import Blend
from facefusion_runner.blending.pyramid import pyramid
from facefusion_runner.blending.seamless import seamless

BLEND_MODES: Final[Mapping[str, Blend]] = MappingProxyType(
    {"alpha": alpha, "seamless": seamless, "pyramid": pyramid}
)
