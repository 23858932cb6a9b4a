"""What can be said of a task besides its files: each option is heeded, or refused by name."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from facefusion_runner.service.options import NAMES
from tests.service.conftest import Media, Service, refused

GOOD: dict[str, list[Any]] = {
    "trim_start": [0.25, "0:00.25", None],
    "trim_end": [0.75, "0:00:00.75"],
    "fps": [6, "30000/1001", 23.976],
    "select": ["all", "largest", 0, [0, 1], "0,2"],
    "reference_distance": [0, 0.4, 2],
    "require_face": [True, "false"],
    "detector": ["auto", "retinaface_light", "retinaface"],
    "detect_size": [64, 640, None],
    "detect_score": [0, 0.5, 1],
    "detect_nms": [0.4],
    "detect_every": [1, 5],
    "landmarker": ["auto", "face_mesh_468"],
    "encoder": ["auto", "arcface_light"],
    "generator": ["mesh"],
    "pixel_boost": [1, 2],
    "domain": [None],
    "morph": [None],
    "direction": [None],
    "enhancer": [None],
    "enhancer_blend": [0, 0.5, 1],
    "blend_mode": ["alpha", "seamless", "pyramid"],
    "mask": ["box", "hull", ["box", "hull"], None],
    "mask_regions": [None],
    "occlusion_model": ["auto"],
    "region_model": ["auto"],
    "mask_feather": [0, 0.3],
    "mask_padding": [0.1, [0.1, 0.2], [0, 0, 0, 0.5]],
    "video_encoder": ["auto", "h264", "hevc"],
    "quality": [0, 80, 100],
    "preset": ["fast"],
    "visible_label": ["made by AI", "ü ☺", ""],
    "consent": [True, False],
}
BAD: dict[str, list[Any]] = {
    "trim_start": [-1, "soon", [1]],
    "trim_end": [0, "1:99"],
    "fps": [0, 1001, "1/0"],
    "select": ["everyone", -1, {"a": 1}],
    "reference_distance": [-0.1, 2.1],
    "require_face": [2, "maybe"],
    "detector": ["../x", "no_such_detector"],
    "detect_size": [63, 4097, 1.5],
    "detect_score": [1.1, "NaN"],
    "detect_nms": [-1],
    "detect_every": [0, 1001],
    "landmarker": ["no_such_landmarker"],
    "encoder": ["no_such_encoder"],
    "generator": ["inswapper_128"],
    "pixel_boost": [0, 9],
    "domain": ["a b"],
    "morph": [2, "far"],
    "direction": ["b"],
    "enhancer": ["no_such_enhancer"],
    "enhancer_blend": [-0.1, 1.1],
    "blend_mode": ["poisson", True],
    "mask": ["circle", ["box", "circle"]],
    "mask_regions": ["Skin!"],
    "occlusion_model": ["no_such_occlusion_model"],
    "region_model": ["no_such_region_model"],
    "mask_feather": [1.5],
    "mask_padding": [[0.1, 0.2, 0.3], 0.6],
    "video_encoder": ["mpeg2"],
    "quality": [101, -1, "high"],
    "preset": ["no_such_preset"],
    "visible_label": ["a\nb", ["a"]],
    "consent": ["perhaps"],
}


def test_every_option_is_tried() -> None:
    assert set(GOOD) == set(BAD) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_option_is_taken_as_it_was_written(service: Service, media: Media, name: str) -> None:
    files = {"source": media.source, "target": media.clip}
    for value in GOOD[name]:
        task = service.make(files, {name: value})
        assert task["options"] == {name: value}
        service.client.delete(f"/v1/tasks/{task['id']}")


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_none_is_refused_with_the_options_name(
    service: Service, media: Media, name: str
) -> None:
    files = {"source": media.source, "target": media.clip}
    for value in BAD[name]:
        answer = service.post(files, {name: value})
        assert answer.status_code == 422, f"{name} = {value!r}: {answer.text}"
        message = answer.json()["error"]["message"]
        named = name in message or str(value) in message
        assert named and "\n" not in message, message


def test_an_option_that_there_is_not_is_refused_with_the_likely_one(
    service: Service, pair: dict[str, Path]
) -> None:
    for name, likely in (("blend", "blend_mode"), ("trim-start", "trim_start"), ("QUALTIY", "quality")):
        answer = service.post(pair, {name: 1})
        refused(answer, 422, "bad_configuration", f"'{name}'", f"did you mean {likely}")


@pytest.mark.parametrize(
    "name",
    ["cache_root", "model_root", "audit_log", "require_consent", "device", "threads", "output", "reference",
     "task_id", "c2pa_key", "provenance", "cache_keep", "overwrite", "offline", "model_licenses_accepted"],
)  # fmt: skip
def test_what_is_the_operators_is_not_the_clients(service: Service, pair: dict[str, Path], name: str) -> None:
    refused(service.post(pair, {name: "1"}), 422, "bad_configuration", f"unknown setting '{name}'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "one JSON object"),
        ('"x"', "one JSON object"),
        ('{"quality": 1, "quality": 2}', "twice"),
        ("[" * 100_00, "JSON"),
        ('{"quality": ' + "9" * 5000 + "}", "JSON"),
        ('{"visible_label": "\\ud800"}', "surrogate"),
        ('{"visible_label": ["\\ud800"]}', "surrogate"),
        ('{"\\ud800": 1}', "unknown setting"),
        ('{"quality": NaN}', "quality"),
        ('{"quality": 1e999}', "quality"),
    ],
)
def test_options_that_are_no_object_are_refused(
    service: Service, pair: dict[str, Path], text: str, words: str
) -> None:
    refused(service.post(pair, data={"options": text}), 422, "bad_configuration", words)


def test_options_that_do_not_fit_together_are_refused(service: Service, media: Media) -> None:
    files = {"source": media.source, "target": media.clip}
    answer = service.post(files, {"trim_start": 0.5, "trim_end": 0.5})
    refused(answer, 422, "bad_configuration", "trim_end", "trim_start")
    refused(service.post(files, {"select": "reference"}), 422, "bad_configuration", "reference")
    refused(service.post(files, {"trim_start": 60}), 422, "bad_input", "start of 60 s")


@pytest.mark.parametrize(("ending", "kind"), [("jpg", "JPEG"), ("png", "PNG"), ("webp", "WEBP")])
def test_a_picture_comes_in_the_format_asked_for(
    service: Service, pair: dict[str, Path], ending: str, kind: str
) -> None:
    task = service.wait(service.make(pair, {"output_format": ending})["id"])
    assert task["result"]["name"].endswith(f".{ending}")
    answer = service.client.get(task["result"]["url"])
    assert answer.headers["content-type"] == task["result"]["media_type"]
    assert Image.open(io.BytesIO(answer.content)).format == kind


def test_a_film_is_no_picture_and_a_picture_no_film(service: Service, media: Media) -> None:
    for target, ending in ((media.picture, "mp4"), (media.clip, "png")):
        answer = service.post({"source": media.source, "target": target}, {"output_format": ending})
        assert answer.status_code == 422
        message = answer.json()["error"]["message"]
        assert "output_format" in message and ending in message and str(service.folder) not in message
    refused(
        service.post({"source": media.source, "target": media.clip}, {"output_format": "avi"}),
        *(422, "bad_configuration", "output_format", "'avi'", "mp4, mov, mkv, webm, jpg, png, webp"),
    )
    refused(service.post({"source": media.clip, "target": media.picture}), 422, "bad_input", "source")


def test_the_services_settings_are_the_defaults(
    service: Service, pair: dict[str, Path], media: Media
) -> None:
    # What is written as null is as good as not written.
    task = service.make(pair, {name: None for name in NAMES})
    assert service.wait(task["id"])["state"] == "succeeded"
    assert json.loads(json.dumps(task["options"])) == dict.fromkeys(NAMES)


def test_parts_that_are_missing_or_unknown_are_named(service: Service, media: Media) -> None:
    refused(service.post({"target": media.picture}), 422, "bad_input", "needs a source")
    refused(service.post({"source": media.source}), 422, "missing_part", "target")
    files = {"source": media.source, "target": media.picture}
    refused(service.post({**files, "picture": media.group}), 422, "unknown_part", "'picture'", "reference")
    refused(service.post([*files.items(), ("target", media.clip)]), 422, "too_many", "target")
    twice = [*files.items(), ("options", (None, "{}")), ("options", (None, "{}"))]
    refused(service.post(twice), 422, "repeated_part", "options")
