"""Prunes images from the server under test, so that the next pull goes upstream.

There are three ways: the client's delete command, HTTP DELETE by the driver, and Ociregistry's admin API.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Protocol
from urllib.parse import quote

from ..clients.classify import failure_of
from ..clients.client import Client
from ..clients.renewal import Renewal
from ..http.network import Network
from ..http.registry import Answer, Registry, RegistryError
from ..images import Image
from ..outcomes import CODES, FAILED, INTERRUPTED, OK, ErrorClass, Failure, classify_http
from ..processes.launch import Launcher
from .manifests import DigestResolver, PlatformImages
from .route import Route

# The longest URL, in characters. Servers and proxies accept request lines of 8 KiB (RFC 9112, section 3: at least 8000
# octets).
URL_LIMIT = 7500
# Characters that stay unescaped in the URL.
_KEPT = ",/:@"
# The statuses of a successful delete: 202 by the distribution specification; some servers answer 200 or 204.
DELETED = (200, 202, 204)
_OPERATORS = re.compile(r"[.+*?()|{}$^\[\]\\]")


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of pruning one image; `seconds` is the time of the whole call or launch that pruned it."""

    image: Image
    outcome: str
    seconds: float
    failure: Failure | None = None
    cpu_seconds: float = 0.0


def absent_is_pruned(pruned: Pruned) -> Pruned:
    """Returns the result with success in place of the failure that the server does not have the image."""
    if pruned.failure is None or pruned.failure.error_class != ErrorClass.NOT_FOUND.value:
        return pruned
    return replace(pruned, outcome=OK, failure=None)


class Pruner(Protocol):
    """One way of pruning; `how` names it in the log.

    `prune` yields one result per image. It ends between two calls once `stopped` returns True; the images that are left
    have no result.
    """

    how: str

    def prune(
        self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]
    ) -> Iterator[Pruned]: ...


def error_code(answer: Answer) -> str:
    """Returns the first code of an OCI error body; empty if there is none."""
    try:
        return str(json.loads(answer.body)["errors"][0]["code"])[:60]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def is_absent(answer: Answer) -> bool:
    """Returns whether a server says that it does not hold what it would delete.

    zot says so with 400 and NAME_UNKNOWN as long as it does not hold the repository.
    """
    code = error_code(answer)
    if answer.status == 404:
        return code != "UNSUPPORTED"
    return answer.status == 400 and CODES.get(code) is ErrorClass.NOT_FOUND


class ClientPruner:
    """Prunes with the client's delete command, one launch per image."""

    def __init__(
        self,
        client: Client,
        launcher: Launcher,
        reference: Callable[[Image], str],
        timeout: float,
        resolver: DigestResolver | None,
        renewal: Renewal | None = None,
    ) -> None:
        self._client = client
        self._renewal = renewal
        self._launcher = launcher
        self._reference = reference
        self._timeout = timeout
        self._resolver = resolver
        self.how = f"{client.name} delete" + (", by digest" if resolver else "")

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        for image in images:
            if stopped():
                return
            pruned = self._delete(image, scratch, stopped)
            if pruned is None:
                return
            yield pruned

    def _delete(self, image: Image, scratch: Path, stopped: Callable[[], bool]) -> Pruned | None:
        started = monotonic()
        target = image
        if self._resolver is not None and not image.is_digest:
            try:
                target = self._resolver.by_digest(image)
            except RegistryError as error:
                return Pruned(image, FAILED, monotonic() - started, _failure(error))
            except CancelledError:
                return Pruned(image, INTERRUPTED, monotonic() - started)
        resolved = monotonic() - started
        client = self._client if self._renewal is None else self._renewal.newest()
        argv = client.delete(self._reference(target), scratch)
        outcome = self._launcher.run(argv, self._timeout, stopped)
        if outcome.dropped:
            return None
        seconds = resolved + outcome.seconds
        if outcome.returncode == 0:
            return Pruned(image=image, outcome=OK, seconds=seconds, cpu_seconds=outcome.cpu_seconds)
        if outcome.interrupted:
            return Pruned(
                image=image,
                outcome=INTERRUPTED,
                seconds=seconds,
                cpu_seconds=outcome.cpu_seconds,
            )
        return Pruned(
            image=image,
            outcome=FAILED,
            seconds=seconds,
            failure=failure_of(self._client, outcome),
            cpu_seconds=outcome.cpu_seconds,
        )


class HttpPruner:
    """Prunes with one HTTP `DELETE` per manifest, sent by the driver. Used for a client without a delete command.

    Source: OCI distribution specification, "Deleting tags" and "Deleting manifests".
    """

    def __init__(
        self, network: Network, server: Registry, route: Route, resolver: DigestResolver | None
    ) -> None:
        self._network = network
        self._server = server
        self._route = route
        self._resolver = resolver
        self.how = "HTTP DELETE" + (", by digest" if resolver else "")

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        for image in images:
            if stopped():
                return
            started = monotonic()
            outcome, failure = self._delete(image)
            yield Pruned(image, outcome, monotonic() - started, failure)

    def _delete(self, image: Image) -> tuple[str, Failure | None]:
        try:
            target = self._resolver.by_digest(image) if self._resolver and not image.is_digest else image
            path = self._route.manifest(target)
            answer = self._network.run_until_kill(
                self._server.request("DELETE", path, headers=self._route.headers(target))
            )
        except RegistryError as error:
            return FAILED, _failure(error)
        except CancelledError:
            return INTERRUPTED, None
        if answer.status in DELETED:
            return OK, None
        found = ErrorClass.NOT_FOUND.value if is_absent(answer) else classify_http(answer.status)
        return FAILED, Failure(found, f"HTTP {answer.status} from DELETE {path}")


class AdminPruner:
    """Prunes with Ociregistry's `DELETE /cmd/prune`: one call for many images, one escaped, anchored regex per image.

    Ociregistry stores the image of a platform under its own digest, beside the index that a tag names. Both have to be
    pruned.

    Calls of several threads follow one another. Ociregistry first lists what to prune, and then removes it without a
    further look. So two calls for one image both count its blobs down, and its cache then says 404 to these blobs until
    the server restarts.
    """

    how = "Ociregistry's admin API (/cmd/prune)"

    def __init__(
        self, network: Network, server: Registry, upstream_name: str, platform_images: PlatformImages
    ) -> None:
        self._network = network
        self._server = server
        self._upstream_name = upstream_name
        self._platform_images = platform_images
        self._calling = threading.Lock()

    def prune(self, images: Sequence[Image], scratch: Path, stopped: Callable[[], bool]) -> Iterator[Pruned]:
        try:
            parts = self._platform_images.of(images)
        except CancelledError:
            yield from (Pruned(image, INTERRUPTED, 0.0) for image in images)
            return
        for batch, url in partition(images, parts, self._upstream_name, URL_LIMIT - len(self._server.url)):
            with self._calling:
                if stopped():
                    return
                started = monotonic()
                outcome, failure = self._call(url)
                seconds = monotonic() - started
            yield from (Pruned(image, outcome, seconds, failure) for image in batch)

    def _call(self, url: str) -> tuple[str, Failure | None]:
        try:
            answer = self._network.run_until_kill(self._server.request("DELETE", url))
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
    """Returns a Go regex that matches only this image. Ociregistry stores tags in lower case, so they are lowered.

    `upstream_name` is the upstream of images that have none of their own.
    """
    reference = image.reference if image.is_digest else image.reference.lower()
    upstream = image.upstream or upstream_name
    name = f"{upstream}/{image.repository}{'@' if image.is_digest else ':'}{reference}"
    escaped = _OPERATORS.sub(r"\\\g<0>", name)
    return f"^{escaped}$"


def prune_url(expressions: Iterable[str], *, dry_run: bool = False) -> str:
    """Returns the path and query of the admin call that prunes what these regexes match."""
    joined = quote(",".join(expressions), safe=_KEPT)
    return f"/cmd/prune?type=pattern&expr={joined}&dryRun={'true' if dry_run else 'false'}&count=-1"


def partition(
    images: Sequence[Image], parts: Mapping[Image, Sequence[Image]], upstream_name: str, limit: int
) -> Iterator[tuple[list[Image], str]]:
    """Yields batches of images with the path and query that prunes each batch.

    Each URL has at most `limit` characters after the host, or holds one image. `parts` maps an image to the images of
    its platforms; they go into the same call.
    """
    batch: list[Image] = []
    expressions: list[str] = []
    size = len(prune_url([]))
    used = size
    for image in images:
        texts = [expression(upstream_name, each) for each in (image, *parts.get(image, ()))]
        length = sum(len(quote(text, safe=_KEPT)) + 1 for text in texts)
        if batch and used + length > limit:
            yield batch, prune_url(expressions)
            batch, expressions, used = [], [], size
        batch.append(image)
        expressions += texts
        used += length
    if batch:
        yield batch, prune_url(expressions)


def _failure(error: RegistryError) -> Failure:
    if error.status:
        return Failure(classify_http(error.status), str(error))
    return Failure((error.error_class or ErrorClass.OTHER).value, str(error))
