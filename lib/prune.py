"""Pruning the server under test, so that it goes upstream again: by the client's delete or Ociregistry's admin API.

Which of them works is found out before any load by requests that can harm nothing: the delete of a digest that
cannot exist, and a dry run of the admin call with an expression that matches nothing.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol
from urllib.parse import quote

from .clients import Client, failure_of
from .errors import RunError
from .events import FAILED, INTERRUPTED, OK
from .failures import ErrorClass, Failure, classify_http
from .images import Image
from .launch import Launcher
from .layout import Route
from .network import Network
from .registry import Answer, Registry, RegistryError

# Servers and the proxies before them take request lines of 8 KiB (RFC 9112 asks for 8000 octets at least).
URL_LIMIT = 7500
_OPERATORS = re.compile(r"[.+*?()|{}$^\[\]\\]")
_NO_DIGEST = "sha256:" + "0" * 64
_NO_IMAGE = "^ocidriver-probe-that-matches-nothing$"
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What came of pruning one image; `seconds` is the time of the call or launch that it was part of."""

    image: Image
    outcome: str
    seconds: float
    failure: Failure | None = None
    cpu_seconds: float = 0.0


class Pruner(Protocol):
    """`how` is for the log. `prune` stops between two calls once `stopped` says so, leaving the rest as it is."""

    how: str

    def prune(
        self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
    ) -> Iterator[Pruned]: ...


class ClientPruner:
    """One launch of the client's delete command an image."""

    def __init__(
        self,
        client: Client,
        launcher: Launcher,
        reference: Callable[[Image], str],
        timeout: float,
        resolver: Resolver | None,
    ) -> None:
        self._client = client
        self._launcher = launcher
        self._reference = reference
        self._timeout = timeout
        self._resolver = resolver
        self.how = f"{client.name} delete" + (", by digest" if resolver else "")

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        for image in images:
            if stopped():
                return
            yield self._delete(image, scratch)

    def _delete(self, image: Image, scratch: Path) -> Pruned:
        started = monotonic()
        target = image
        if self._resolver is not None and not image.is_digest:
            try:
                target = self._resolver.by_digest(image)
            except RegistryError as error:
                return Pruned(image, FAILED, monotonic() - started, _failure(error))
            except CancelledError:
                return Pruned(image, INTERRUPTED, monotonic() - started)
        outcome = self._launcher.run(self._client.delete(self._reference(target), scratch), self._timeout)
        seconds = monotonic() - started
        if outcome.returncode == 0:
            return Pruned(image, OK, seconds, None, outcome.cpu_seconds)
        if outcome.interrupted:
            return Pruned(image, INTERRUPTED, seconds, None, outcome.cpu_seconds)
        return Pruned(image, FAILED, seconds, failure_of(self._client.name, outcome), outcome.cpu_seconds)


class Resolver:
    """Asks the server under test for the digest behind a tag (HEAD, as `crane digest` does)."""

    def __init__(self, network: Network, server: Registry, route: Route) -> None:
        self._network = network
        self._server = server
        self._route = route

    def by_digest(self, image: Image) -> Image:
        path = f"/v2/{self._route.repository(image)}/manifests/{image.reference}"
        headers = {"Accept": _MANIFESTS, **_route_headers(self._route)}
        answer = self._network.run(self._server.request("HEAD", path, headers=headers))
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status != 200 or not digest:
            raise RegistryError(f"no digest for {image.name}: HTTP {answer.status}", answer.status)
        return Image(image.repository, digest)


class AdminPruner:
    """Ociregistry's `DELETE /cmd/prune`: one call for many images, each by an escaped, anchored expression."""

    how = "Ociregistry's admin API (/cmd/prune)"

    def __init__(self, network: Network, server: Registry, upstream_name: str) -> None:
        self._network = network
        self._server = server
        self._upstream_name = upstream_name

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        for batch, url in partition(images, self._upstream_name, URL_LIMIT - len(self._server.url)):
            if stopped():
                return
            started = monotonic()
            outcome, failure = self._call(url)
            seconds = monotonic() - started
            yield from (Pruned(image, outcome, seconds, failure) for image in batch)

    def _call(self, url: str) -> tuple[str, Failure | None]:
        try:
            answer = self._network.run(self._server.request("DELETE", url))
        except RegistryError as error:
            return FAILED, _failure(error)
        except CancelledError:
            return INTERRUPTED, None
        if answer.status == 200:
            return OK, None
        text = answer.body.decode("utf-8", "replace")
        return FAILED, Failure(
            classify_http(answer.status), f"HTTP {answer.status} from /cmd/prune: {text[:200]!a}"
        )


def expression(upstream_name: str, image: Image) -> str:
    """A Go regex for this image alone. Ociregistry keeps references in lower case, so tags are lowered here too."""
    reference = image.reference if image.is_digest else image.reference.lower()
    name = f"{upstream_name}/{image.repository}{'@' if image.is_digest else ':'}{reference}"
    escaped = _OPERATORS.sub(r"\\\g<0>", name)
    return f"^{escaped}$"


def prune_url(expressions: Iterable[str], *, dry_run: bool = False) -> str:
    joined = quote(",".join(expressions), safe=",/:@")
    return f"/cmd/prune?type=pattern&expr={joined}&dryRun={'true' if dry_run else 'false'}&count=-1"


def partition(images: Sequence[Image], upstream_name: str, limit: int) -> Iterator[tuple[list[Image], str]]:
    """The images in as few calls as `limit` (characters of the URL after the host) allows, at least one a call."""
    batch: list[Image] = []
    expressions: list[str] = []
    size = len(prune_url([]))
    used = size
    for image in images:
        text = expression(upstream_name, image)
        length = len(quote(text, safe=",/:@")) + 1
        if batch and used + length > limit:
            yield batch, prune_url(expressions)
            batch, expressions, used = [], [], size
        batch.append(image)
        expressions.append(text)
        used += length
    if batch:
        yield batch, prune_url(expressions)


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a way of pruning works; `reason` says why not. `by_digest`: this server deletes by digest only."""

    works: bool
    reason: str = ""
    by_digest: bool = False


async def probe_admin(server: Registry) -> Probe:
    """Ociregistry answers its dry run with 200 and plain text, other servers with 404 or a page."""
    try:
        answer = await server.request("DELETE", prune_url([_NO_IMAGE], dry_run=True))
    except RegistryError as error:
        return Probe(False, f"its admin API cannot be asked: {error}")
    if answer.status == 200 and "html" not in answer.headers.get("Content-Type", ""):
        return Probe(True)
    return Probe(False, f"it has no admin API of Ociregistry's (DELETE /cmd/prune: HTTP {answer.status})")


async def probe_delete(server: Registry, route: Route, image: Image) -> Probe:
    """Delete a digest and a tag that cannot exist; 404 says that the server would delete one that does."""
    headers = _route_headers(route)
    base = f"/v2/{route.repository(image)}/manifests/"
    try:
        answer = await server.request("DELETE", base + _NO_DIGEST, headers=headers)
        if not _would_delete(answer):
            return Probe(
                False, f"it refuses deletes (DELETE of a manifest: HTTP {answer.status}{_code(answer)})"
            )
        by_tag = await server.request(
            "DELETE", f"{base}ocidriver-probe-{secrets.token_hex(8)}", headers=headers
        )
    except RegistryError as error:
        return Probe(False, f"a delete cannot be tried: {error}")
    return Probe(True, by_digest=not _would_delete(by_tag))


def _would_delete(answer: Answer) -> bool:
    return answer.status in (202, 404) and "UNSUPPORTED" not in _code(answer)


def _code(answer: Answer) -> str:
    """The first code of an OCI error body, for a message."""
    try:
        return f" {json.loads(answer.body)['errors'][0]['code']}"[:60]
    except (ValueError, LookupError, TypeError):
        return ""


def _route_headers(route: Route) -> dict[str, str]:
    return dict([route.header]) if route.header else {}


def _failure(error: RegistryError) -> Failure:
    if error.status:
        return Failure(classify_http(error.status), str(error))
    return Failure((error.error_class or ErrorClass.OTHER).value, str(error))


def cannot_prune(server: str, reasons: Sequence[str]) -> RunError:
    return RunError(
        f"--prune: {server} cannot be pruned: {'; '.join(reasons)}. Leave out --prune, "
        "or allow deletes on the server (a docker-registry proxy never does)"
    )
