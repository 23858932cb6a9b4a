"""The options of a task: those settings that are the client's to choose."""

from __future__ import annotations

import json
from typing import Any, Final

from facefusion_runner import loading
from facefusion_runner.errors import ConfigError
from facefusion_runner.loading import Loaded, Origin
from facefusion_runner.settings import (
    Blending,
    Encoding,
    Faces,
    Networks,
    ServiceSettings,
    Settings,
    Stretch,
)
from facefusion_runner.tasks.formats import OUTPUT_FORMATS

_SECTIONS: Final = (Stretch, Faces, Networks, Blending, Encoding)
_FILES: Final = frozenset({"reference"})
"""Settings of these sections that are parts of the request, not options."""

NAMES: Final = (
    *(name for section in _SECTIONS for name in section.model_fields if name not in _FILES),
    "visible_label",
    "consent",
)


def read(
    text: str, loaded: Loaded[ServiceSettings], reference: str | None
) -> tuple[dict[str, Any], str | None]:
    """The options as they were written, and the output's format where one was named.

    `reference` is the path of that part. Raises ConfigError that names the first that is wrong, alone or
    together with the service's own settings.
    """
    options = loading.read_object(text, (*NAMES, "output_format"), "options")
    try:
        json.dumps(options, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ConfigError("options: not usable JSON: it holds half a surrogate pair") from None
    output_format = options.pop("output_format", None)
    known = [ending for endings in OUTPUT_FORMATS.values() for ending in endings]
    if output_format is not None and output_format not in known:
        shown = loading.shown(output_format)
        raise ConfigError(f"options: output_format = {shown}: must be one of {', '.join(known)}")
    origins = {name: loaded.origins[name] for name in Settings.model_fields}
    for name, value in options.items():
        origins[name] = Origin("option", name, value)
    if reference is not None:
        origins["reference"] = Origin("option", "reference", reference)
    loading.check(origins, loaded.config, Settings)
    return options, output_format


def schema() -> dict[str, Any]:
    """JSON Schema of the options, for OpenAPI."""
    properties = Settings.model_json_schema()["properties"]
    formats = {
        "enum": [ending for endings in OUTPUT_FORMATS.values() for ending in endings],
        "type": "string",
    }
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: properties[name] for name in NAMES},
            "output_format": {**formats, "description": "Default: as the target; mp4 for a GIF."},
        },
    }
