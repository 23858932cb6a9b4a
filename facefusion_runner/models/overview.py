"""One table of all roles, families and models, made of the catalog: `docs/models.md`.

python -m facefusion_runner.models.overview > docs/models.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from facefusion_runner.models.catalog import Catalog, ModelEntry, Role
from facefusion_runner.models.families import about, families, parameters, parameters_class, usual

COMMAND: Final = "python -m facefusion_runner.models.overview > docs/models.md"

_INTRODUCTION: Final = f"""# Models

Every model of the catalogs that come with facefusion-runner, and every family, also those of which you bring
the weights: [add a model](add-a-model.md), [add a family](add-a-family.md). This page is made of the catalog
by `{COMMAND}`.

A model is named by its id or by its family: `--generator`, `--encoder`, `--enhancer`, `--occlusion-model`, …;
a family means the first of its models that can be used. `space` is the space of the embeddings that an
encoder makes and a generator understands; after an arrow those that a converter carries over. `template` is
how crops are aligned. A licence with a star must be accepted (`MODEL_LICENSES_ACCEPTED`); one with a dagger
forbids commercial use.
"""
_HEADERS: Final = ("role", "family", "model", "space", "template", "side", "licence")


def document(catalog: Catalog) -> str:
    """The page, as it is in `docs/models.md`."""
    rows = [row for role in _roles() for row in _rows(catalog, role)]
    licences = [
        f"| `{each.id}` | [{each.name}]({each.url}) | {'yes' if each.commercial else 'no'} "
        f"| {'yes' if each.needs_acceptance else 'no'} |"
        for each in catalog.licences.values()
    ]
    return "\n".join(
        [
            _INTRODUCTION,
            *_table(_HEADERS, rows),
            "",
            "## Families",
            "",
            *_families(),
            "",
            "## Licences",
            "",
            "| id | name | commercial use | must be accepted |",
            "|---|---|---|---|",
            *licences,
            "",
        ]
    )


def _roles() -> Iterator[Role]:
    """All but archives, which are no models."""
    return (role for role in get_args(Role) if role != "pack")


def _rows(catalog: Catalog, role: Role) -> Iterator[Sequence[str]]:
    entries = catalog.entries(role)
    for entry in entries:
        numbers = _numbers(catalog, entry)
        yield role, f"`{entry.family}`", f"`{entry.id}`", *numbers, _licence(catalog, entry)
    for family in families(role):
        if family not in {entry.family for entry in entries}:
            mostly = usual(role, family)
            yield role, f"`{family}`", "yours", "", _code(mostly.get("template")), _side(mostly), "yours"


def _numbers(catalog: Catalog, entry: ModelEntry) -> tuple[str, str, str]:
    """Space, template and side, with the defaults of the family's file."""
    if entry.role == "converter":
        return _carried(catalog, entry), "", ""
    cls = parameters_class(entry.role, entry.family)
    values: dict[str, Any] = dict(entry.parameters)
    if cls is not None:
        values = parameters(entry, cls).model_dump()
    if entry.role == "mask" and values.get("segmenter"):
        return _numbers(catalog, catalog.get(values["segmenter"]))
    space = values.get("embedding_space") or values.get("space") or ""
    if entry.role == "encoder" and not space:
        space = entry.id
    if carried := values.get("converters"):
        space += " ← " + ", ".join(carried)
    return space, _code(values.get("template")), _side(values)


def _side(values: Mapping[str, Any]) -> str:
    return str(values.get("side") or "")


def _carried(catalog: Catalog, converter: ModelEntry) -> str:
    """From which space to which, as the generators that name it say."""
    ways = {
        f"{space} → {entry.parameters['embedding_space']}": None
        for entry in catalog.entries("generator")
        for space, model in entry.parameters.get("converters", {}).items()
        if model == converter.id
    }
    return ", ".join(ways)


def _licence(catalog: Catalog, entry: ModelEntry) -> str:
    licence = catalog.licences[entry.licence]
    star, dagger = "\\*" if licence.needs_acceptance else "", "" if licence.commercial else "†"
    return f"`{licence.id}`{star}{dagger}"


def _families() -> Iterator[str]:
    """A line per file; several families may share one."""
    for role in _roles():
        named: dict[str, list[str]] = {}
        for family in families(role):
            named.setdefault(about(role, family), []).append(f"`{family}`")
        yield from (f"- {role} {', '.join(names)}: {said}" for said, names in named.items())


def _code(value: object) -> str:
    return f"`{value}`" if value else ""


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [headers, ["---"] * len(headers), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def main() -> None:
    # A user's own catalog is no part of the page.
    sys.stdout.write(document(Catalog.load(Path("/nonexistent"))))


if __name__ == "__main__":
    main()
