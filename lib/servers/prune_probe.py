"""Which way the server under test can be pruned, found out before any load by requests that can harm nothing.

These are the delete of a digest and of a tag that cannot exist, and a dry run of Ociregistry's admin call with an
expression that matches nothing.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RunError
from ..http.registry import Answer, Registry, RegistryError
from ..images import Image
from .prune import prune_url
from .route import Route

_NO_DIGEST = "sha256:" + "0" * 64
_NO_IMAGE = "^ocidriver-probe-that-matches-nothing$"


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
    headers = route.headers
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


def cannot_prune(option: str, server: str, reasons: Sequence[str]) -> RunError:
    return RunError(
        f"{option}: {server} cannot be pruned: {'; '.join(reasons)}. Leave out {option}, "
        "or allow deletes on the server (a docker-registry proxy never does)"
    )
