"""Finds the code of a model's family: a file of the role's folder, or an installed package's entry point.

A family's file declares `FAMILIES`, the names it answers to, and `load`. A package adds a family with
an entry point in the group named like the folder, for example::

    [project.entry-points."facefusion_runner.detectors"]
    my_family = "my_package.my_module:load"
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from facefusion_runner.detectors import Detector, DetectorOptions
from facefusion_runner.encoders import Encoder
from facefusion_runner.enhancers import Enhancer
from facefusion_runner.errors import ModelError
from facefusion_runner.generators import Generator, GeneratorOptions
from facefusion_runner.landmarkers import Landmarker
from facefusion_runner.maskers import Masker
from facefusion_runner.models.catalog import ModelEntry, Role
from facefusion_runner.models.session import OpenModel, Session
from facefusion_runner.segmenters import Segmenter

FOLDERS: Final = MappingProxyType(
    {
        "detector": "facefusion_runner.detectors",
        "landmarker": "facefusion_runner.landmarkers",
        "encoder": "facefusion_runner.encoders",
        "generator": "facefusion_runner.generators",
        "segmenter": "facefusion_runner.segmenters",
        "mask": "facefusion_runner.maskers",
        "enhancer": "facefusion_runner.enhancers",
    }
)
"""The role's folder, which is also the name of its group of entry points."""

Load = Callable[..., Any]
P = TypeVar("P", bound=BaseModel)


def load_detector(
    entry: ModelEntry, open_model: OpenModel, options: DetectorOptions | None = None
) -> Detector:
    """The detector of `entry`; ModelError for an unknown family, bad parameters or another graph."""
    return cast(Detector, _find("detector", entry)(entry, open_model, options or DetectorOptions()))


def load_landmarker(entry: ModelEntry, open_model: OpenModel) -> Landmarker:
    """The landmarker of `entry`; raises as `load_detector` does."""
    return cast(Landmarker, _find("landmarker", entry)(entry, open_model))


def load_encoder(entry: ModelEntry, open_model: OpenModel) -> Encoder:
    """The encoder of `entry`; raises as `load_detector` does."""
    return cast(Encoder, _find("encoder", entry)(entry, open_model))


def load_generator(
    entry: ModelEntry, open_model: OpenModel, options: GeneratorOptions | None = None
) -> Generator:
    """The generator of `entry`; raises as `load_detector` does."""
    return cast(Generator, _find("generator", entry)(entry, open_model, options or GeneratorOptions()))


def load_segmenter(entry: ModelEntry, open_model: OpenModel) -> Segmenter:
    """The segmenter of `entry`; raises as `load_detector` does."""
    return cast(Segmenter, _find("segmenter", entry)(entry, open_model))


def load_masker(entry: ModelEntry, open_model: OpenModel) -> Masker:
    """The masker of `entry`; raises as `load_detector` does."""
    return cast(Masker, _find("mask", entry)(entry, open_model))


def load_enhancer(entry: ModelEntry, open_model: OpenModel) -> Enhancer:
    """The enhancer of `entry`; raises as `load_detector` does."""
    return cast(Enhancer, _find("enhancer", entry)(entry, open_model))


def load_family(entry: ModelEntry, open_model: OpenModel) -> object:
    """What the family's code makes of `entry`, whatever its role; raises as `load_detector`."""
    options = {"detector": DetectorOptions, "generator": GeneratorOptions}
    further = (options[entry.role](),) if entry.role in options else ()
    return _find(entry.role, entry)(entry, open_model, *further)


def parameters(entry: ModelEntry, cls: type[P]) -> P:
    """The parameters of `entry` as the family's own class; ModelError naming the model and each bad key."""
    try:
        return cls.model_validate(dict(entry.parameters))
    except ValidationError as error:
        faults = "; ".join(_fault(fault) for fault in error.errors(include_url=False))
        raise ModelError(f"model {entry.id} (family {entry.family}): {faults}") from None


def _fault(fault: ErrorDetails) -> str:
    key = ".".join(map(str, fault["loc"])) or "(all)"
    given = "" if fault["type"] == "missing" or not fault["loc"] else f", not {fault['input']!r}"
    return f"parameter {key}: {fault['msg']}{given}"


def families(role: Role) -> tuple[str, ...]:
    """The names of every family of `role` that is installed, sorted; empty for a role without a folder."""
    if role not in FOLDERS:
        return ()
    own = {name for module in _modules(role) for name in module.FAMILIES}
    return tuple(sorted(own | set(metadata.entry_points(group=FOLDERS[role]).names)))


def parameters_class(role: Role, family: str) -> type[BaseModel] | None:
    """What the parameters of a family are read by; None for one whose file, or package, does not say."""
    module = _module(role, family)
    cls = getattr(module, "Parameters", None)
    return cls if isinstance(cls, type) and issubclass(cls, BaseModel) else None


def usual(role: Role, family: str) -> dict[str, Any]:
    """The parameters that models of a family mostly have: what its file says, else the defaults."""
    module, cls = _module(role, family), parameters_class(role, family)
    fields = {} if cls is None else cls.model_fields
    defaults = {name: field.default for name, field in fields.items() if not field.is_required()}
    return {**defaults, **getattr(module, "USUAL", {}).get(family, {})}


def about(role: Role, family: str) -> str:
    """The first sentence of the family's file."""
    module = _module(role, family)
    first = (getattr(module, "__doc__", None) or "").strip().split("\n\n")[0]
    return " ".join(first.split())


def proposed(role: Role, session: Session) -> dict[str, Any]:
    """The catalog parameters that a graph of the entry's family most likely needs."""
    propose = getattr(_module(role, session.entry.family), "propose", None)
    return {} if propose is None else dict(propose(session))


def needs_source(entry: ModelEntry) -> bool | None:
    """Whether the family's file says that its generators need a source; None where it says nothing."""
    said: bool | None = getattr(_module(entry.role, entry.family), "NEEDS_SOURCE", None)
    return said


def roles_of(family: str) -> list[Role]:
    """The roles that have a family of this name."""
    return [role for role in get_args(Role) if family in families(role)]


def _module(role: Role, family: str) -> ModuleType | None:
    """The file of a family, here or in an installed package."""
    if role not in FOLDERS:
        return None
    for module in _modules(role):
        if family in module.FAMILIES:
            return module
    for point in metadata.entry_points(group=FOLDERS[role], name=family):
        with contextlib.suppress(Exception):
            return sys.modules.get(point.load().__module__)
    return None


def _find(role: Role, entry: ModelEntry) -> Load:
    if entry.role != role:
        raise ModelError(f"model {entry.id} has the role {entry.role}, not {role}")
    for module in _modules(role):
        if entry.family in module.FAMILIES:
            return cast(Load, module.load)
    for point in metadata.entry_points(group=FOLDERS[role], name=entry.family):
        return _from_entry_point(entry, point)
    raise ModelError(
        f"model {entry.id}: no {role} family is called {entry.family}; there are {', '.join(families(role))}"
    )


def _modules(role: Role) -> Iterator[ModuleType]:
    package = importlib.import_module(FOLDERS[role])
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        module = importlib.import_module(found.name)
        if hasattr(module, "FAMILIES"):
            yield module


def _from_entry_point(entry: ModelEntry, point: metadata.EntryPoint) -> Load:
    # The package is another's: whatever its import raises is that package's fault, not a defect of ours.
    try:
        return cast(Load, point.load())
    except Exception as error:
        origin = point.dist.name if point.dist else "an installed package"
        raise ModelError(
            f"model {entry.id}: family {entry.family} of {origin} ({point.value}) cannot be loaded: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
