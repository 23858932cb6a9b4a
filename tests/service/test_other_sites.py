"""A service without keys is safe from the pages that the user's own browser shows."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import httpx
import pytest
from insightface.data import get_image

from tests.support.service_process import running_service


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_service(
        tmp_path_factory.mktemp("service"), PUBLIC_URL="https://swap.example.org"
    ) as service:
        yield service.url


def post(url: str, headers: dict[str, str]) -> httpx.Response:
    _, picture = cv2.imencode(".jpg", get_image("t1"))
    return httpx.post(f"{url}/v1/faces", headers=headers, files={"picture": picture.tobytes()}, timeout=60)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_cannot_use_it(url: str, site: str) -> None:
    for answer in (
        post(url, {"Sec-Fetch-Site": site}),
        httpx.get(f"{url}/v1/tasks", headers={"Sec-Fetch-Site": site}),
        httpx.get(f"{url}/v1/tasks/none/result", headers={"Sec-Fetch-Site": site}),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_site")


def test_a_name_that_was_made_to_mean_this_machine_is_not_answered(url: str) -> None:
    for path in ("/v1/tasks", "/v1/models", "/v1/tasks/none/result"):
        answer = httpx.get(url + path, headers={"Host": "evil.example.com"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "unknown_host")
        assert "PUBLIC_URL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]", "swap.example.org"])
def test_its_own_names_are_answered(url: str, host: str) -> None:
    assert httpx.get(f"{url}/v1/tasks", headers={"Host": host}).status_code == 200


def test_its_own_page_and_programs_are_served(url: str) -> None:
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        answer = post(url, headers)
        assert answer.status_code == 200, answer.text
        assert answer.json()["faces"]
