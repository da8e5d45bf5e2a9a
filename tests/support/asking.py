"""One HTTP request and its answer, without a proxy or a retry."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from tests.support.waiting import SECONDS


@dataclass(frozen=True, slots=True)
class Answer:
    """The names of the headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    address: str,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Sends a request to `host:port`."""
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())
    finally:
        connection.close()


def get(address: str, path: str) -> bytes:
    """The body of an answer that has to be a success."""
    answer = ask(address, "GET", path)
    assert answer.status == 200, answer
    return answer.body
