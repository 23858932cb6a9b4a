"""What the OpenAPI document says is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from tests.service.conftest import JsonObject, Key, Media, Service, running_service

SNAPSHOT = Path(__file__).with_name("openapi.json")
RENEWAL = "RENEW_OPENAPI=1 tests/run tests/service/test_openapi.py"

LEFT_OUT = {
    # Random bytes are a valid part by the schema and no picture.
    "positive_data_acceptance",
}


@pytest.fixture
def document(service: Service) -> JsonObject:
    found: JsonObject = service.client.get("/v1/openapi.json").json()
    del found["info"]["version"]
    return found


def test_the_document_changes_only_on_purpose(document: JsonObject) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if os.environ.get("RENEW_OPENAPI"):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), f"the API has changed; if that is meant: {RENEWAL}"


def bodies(document: JsonObject) -> Iterator[tuple[str, str, JsonObject]]:
    """Where, media type, and content of everything that is sent."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method.upper()} {path}"
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                yield f"{where} request", kind, content
            for status, answer in operation["responses"].items():
                for kind, content in answer.get("content", {}).items():
                    yield f"{where} {status}", kind, content


def test_every_request_and_answer_has_an_example_that_is_one(document: JsonObject) -> None:
    seen = 0
    for where, kind, content in bodies(document):
        schema: Any = content.get("schema", content.get("itemSchema"))
        if schema.get("format") == "binary":
            continue
        name = schema.get("$ref", "").rpartition("/")[2]
        examples = document["components"]["schemas"].get(name, {}).get("examples", [])
        examples += [content["example"]] if "example" in content else []
        assert examples, f"{where} has no example"
        seen += 1
        if kind == "application/json":
            for example in examples:
                whole = {**schema, "components": document["components"]}
                jsonschema_rs.Draft202012Validator(whole).validate(example)
    assert seen > 50


def test_every_failure_of_every_route_is_described(document: JsonObject) -> None:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            statuses = set(operation["responses"])
            keyed = path.startswith("/v1/") and path != "/v1/limits"
            assert ("401" in statuses) == keyed, path
            assert ("security" in operation) == keyed, path
            assert ("404" in statuses) == ("{task_id}" in path), path
            assert operation["summary"] and operation["operationId"] and operation["tags"], (method, path)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, alice: Key) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("fuzzed")
    with running_service(folder, API_KEYS=alice.entry, QUEUE_LIMIT="100000") as running:
        yield running


def test_thousands_of_requests_find_nothing_that_is_not_in_the_document(
    keyed: Service, alice: Key, media: Media, tmp_path: Path
) -> None:
    # So that what is asked of the task in the examples is asked of one that is there.
    example = "01KB0G5W7QZ5T2K8Q3D8YV9N4C"
    files = {"source": media.source, "target": media.picture}
    keyed.make(files, data={"task_id": example}, headers=alice.headers)
    keyed.wait(example, headers=alice.headers)
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{keyed.url}/v1/openapi.json"),
            *("--header", f"Authorization: Bearer {alice.value}"),
            *("--checks", "all", "--exclude-checks", ",".join(sorted(LEFT_OUT))),
            *("--max-examples", "130", "--seed", "1", "--workers", "2", "--continue-on-failure"),
            *("--request-timeout", "60", "--no-color"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-2000:]
    count = re.search(r"(\d+) generated", ended.stdout)
    assert count is not None and int(count[1]) >= 2000, ended.stdout[-1000:]
    assert keyed.events("defect") == []
    statuses = {event["status"] for event in keyed.events("request")}
    assert {200, 202, 204, 401, 403, 404, 405, 415, 422} <= statuses and max(statuses) < 500
