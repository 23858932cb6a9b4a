"""Tells a client's server that a task has ended, signed as Standard Webhooks (standardwebhooks.com) asks.

The address is the client's word: unless the operator allows it, nothing is sent to an address that is not
public, and the connection goes to the very address that was checked, whatever the name means a moment later.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import json
import re
import socket
import time
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import structlog

from facefusion_runner.errors import ConfigError, InputError

ATTEMPTS: Final = 5
_FIRST_PAUSE: Final = 2.0
"""Seconds; each further pause is four times as long."""
_TIMEOUT: Final = 10.0
_AT_ONCE: Final = 16
_HOST: Final = re.compile(rb"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")

_log = structlog.get_logger(__name__)


class Webhooks:
    """Sends in the background. Belongs to one event loop."""

    def __init__(self, secret: str | None, allow_private: bool, first_pause: float = _FIRST_PAUSE) -> None:
        self._secret = None if secret is None else _decoded(secret)
        self._allow_private = allow_private
        self._pause = first_pause
        self._sending: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(_AT_ONCE)

    @property
    def enabled(self) -> bool:
        return self._secret is not None

    def check(self, url: str) -> str:
        """The address as it is kept. Raises InputError for one to which nothing would be sent."""
        if not self.enabled:
            raise InputError("this service sends no webhooks; its operator can set WEBHOOK_SECRET")
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise InputError(f"webhook: {error}") from None
        allowed = ("https", "http") if self._allow_private else ("https",)
        if (
            parts.scheme not in allowed
            or not host
            or parts.username
            or len(url) > 2000
            or not url.isprintable()
        ):
            raise InputError(
                f"webhook: must be an address beginning with {' or '.join(allowed)}://, without a password"
            )
        try:
            asked = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise InputError(f"webhook: {error}") from None
        if not _HOST.fullmatch(asked.raw_host):
            raise InputError(f"webhook: {asked.host[:80]!r} is the name of no host")
        if not self._allow_private and not _may_be_public(asked.host):
            raise InputError("webhook: its address is not public")
        return url

    def send(self, url: str, message_id: str, body: dict[str, Any]) -> None:
        """Begins to send; failures are tried again and end in the log."""
        task = asyncio.create_task(self._deliver(url, message_id, json.dumps(body).encode()))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """What is still on its way is given up."""
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _deliver(self, url: str, message_id: str, body: bytes) -> None:
        pause = self._pause
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(pause)
                pause *= 4
            try:
                async with self._places:
                    status = await self._post(url, message_id, body)
                if 200 <= status < 300:
                    _log.info("webhook sent", task=message_id, attempt=attempt + 1)
                    return
                problem = f"answered {status}"
                if status == 410:
                    break
            except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, InputError) as error:
                problem = f"{type(error).__name__}: {error}"
        _log.warning("webhook given up", task=message_id, problem=problem)

    async def _post(self, url: str, message_id: str, body: bytes) -> int:
        asked = httpx.URL(url)
        address = await self._address(asked.host, asked.port or (443 if asked.scheme == "https" else 80))
        headers = {
            "Host": asked.netloc.decode(),
            "Content-Type": "application/json",
            **self._signature(message_id, body),
        }
        # The certificate must be that of the name, though the connection goes to the address.
        extensions = {"sni_hostname": asked.host}
        async with httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False, trust_env=False) as client:
            request = client.build_request(
                "POST", asked.copy_with(host=address), content=body, headers=headers, extensions=extensions
            )
            answer = await client.send(request, stream=True)
            await answer.aclose()
            return answer.status_code

    async def _address(self, host: str, port: int) -> str:
        """One of the name's addresses; InputError when any of them is not public."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if not self._allow_private and not all(_is_public(address) for address in addresses):
            raise InputError("its address is not public")
        return addresses[0]

    def _signature(self, message_id: str, body: bytes) -> dict[str, str]:
        assert self._secret is not None
        timestamp = str(int(time.time()))
        signed = b".".join((message_id.encode(), timestamp.encode(), body))
        signature = base64.b64encode(hmac.digest(self._secret, signed, hashlib.sha256)).decode()
        return {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": f"v1,{signature}",
        }


def _decoded(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise ConfigError("WEBHOOK_SECRET: what follows whsec_ must be Base64") from None


def _may_be_public(host: str) -> bool:
    """What the name alone tells, so that a mistake is told at once; the connection's address decides."""
    try:
        return _is_public(host)
    except ValueError:
        return host.lower().rstrip(".") != "localhost"


_TRANSLATED: Final = (ipaddress.ip_network("::/96"), ipaddress.ip_network("64:ff9b::/96"))
"""IPv6 addresses that mean the IPv4 address in their last 32 bits (RFC 4291, RFC 6052)."""


def _is_public(address: str) -> bool:
    """ValueError for what is no address."""
    found = ipaddress.ip_address(address.split("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    if any(found in network for network in _TRANSLATED):
        inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)
