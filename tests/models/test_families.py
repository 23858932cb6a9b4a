"""A model's family is found in the role's folder or in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from facefusion_runner.errors import ModelError
from facefusion_runner.models.catalog import ModelEntry
from facefusion_runner.models.families import families, load_detector, load_generator, parameters
from facefusion_runner.models.session import Session
from tests.models.test_catalog import install


def entry(**keys: object) -> ModelEntry:
    table = {"id": "net", "role": "detector", "family": "scrfd", "file": "net.onnx", "licence": "mit", **keys}
    return ModelEntry.model_validate(table)


def no_model(model_id: str) -> Session:
    raise AssertionError(f"{model_id} was opened")


def test_every_role_has_its_families() -> None:
    assert set(families("detector")) >= {"retinaface", "scrfd", "yolov5_face", "yolov8_face", "yunet"}
    assert set(families("encoder")) >= {"arcface"}
    assert set(families("generator")) >= {"inswapper", "simswap", "ghost", "hyperswap", "hififace", "mesh"}
    assert set(families("landmarker")) >= {"regression"}
    assert families("pack") == ()


def test_an_unknown_family_names_those_that_exist() -> None:
    with pytest.raises(ModelError, match=r"model net: no detector family is called scrf; there are .*scrfd"):
        load_detector(entry(family="scrf"), no_model)


def test_a_model_of_another_role_is_refused() -> None:
    with pytest.raises(ModelError, match="model net has the role detector, not generator"):
        load_generator(entry(), no_model)


class Numbers(BaseModel, frozen=True, extra="forbid"):
    side: int
    mean: tuple[float, float] = (0.0, 0.0)


def test_parameters_become_the_familys_own() -> None:
    assert parameters(entry(parameters={"side": 5, "mean": [1, 2]}), Numbers) == Numbers(side=5, mean=(1, 2))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "parameter side"),
        ({"side": "x"}, "parameter side"),
        ({"side": 1, "mean": [1]}, "parameter mean.1"),
        ({"side": 1, "colour": "red"}, "parameter colour"),
    ],
)
def test_a_bad_parameter_names_model_and_key(values: dict[str, object], named: str) -> None:
    with pytest.raises(ModelError) as caught:
        parameters(entry(parameters=values), Numbers)
    message = str(caught.value)
    assert "model net (family scrfd)" in message and named in message and "\n" not in message


def test_an_installed_package_brings_a_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
class Finder:
    def __init__(self, entry, size): self.entry, self.size = entry, size
    def detect(self, picture): return []
def load(entry, open_model, options): return Finder(entry, options.size)
"""
    points = "[facefusion_runner.detectors]\nbrought = brought_family:load\n"
    install(tmp_path, "brought_family", points, brought_family=code)
    monkeypatch.syspath_prepend(tmp_path)
    assert "brought" in families("detector")
    detector = load_detector(entry(family="brought"), no_model)
    assert detector.entry.id == "net"  # type: ignore[attr-defined]


def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = "[facefusion_runner.detectors]\nbroken = broken_family:load\n"
    install(tmp_path, "broken_family", points, broken_family="raise RuntimeError('two\\nlines')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"family broken of broken_family .* RuntimeError: two lines"):
        load_detector(entry(family="broken"), no_model)
