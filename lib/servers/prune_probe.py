"""Finds out, before any load, which ways of pruning work with the server under test. The requests delete nothing.

They are: a delete of a digest and of a tag that cannot exist, and a dry run of Ociregistry's admin call with a regex
that matches nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RunError
from ..http.registry import Answer, Registry, RegistryError
from ..images import Image
from .prune import DELETED, error_code, is_absent, prune_url
from .route import Route

_NO_DIGEST = "sha256:" + "0" * 64
_NO_IMAGE = "^ocidriver-probe-that-matches-nothing$"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a way of pruning works; if not, `reason` says why. `by_digest`: the server deletes by digest only."""

    works: bool
    reason: str = ""
    by_digest: bool = False


async def probe_admin(server: Registry) -> Probe:
    """Probes Ociregistry's admin API. Ociregistry answers 200 and plain text; other servers send 404 or a web page."""
    try:
        answer = await server.request("DELETE", prune_url([_NO_IMAGE], dry_run=True))
    except RegistryError as error:
        return Probe(False, f"its admin API does not answer: {error}")
    if answer.status == 200 and "html" not in answer.headers.get("Content-Type", ""):
        return Probe(True)
    return Probe(False, f"it does not have Ociregistry's admin API (DELETE /cmd/prune: HTTP {answer.status})")


async def probe_delete(server: Registry, route: Route, image: Image) -> Probe:
    """Probes deletes with a digest and a tag that cannot exist. If they are only absent, the server allows deletes."""
    headers = route.headers(image)
    try:
        answer = await server.request("DELETE", route.manifest(image, _NO_DIGEST), headers=headers)
        if not _would_delete(answer):
            return Probe(
                False, f"it refuses deletes (DELETE of a manifest: HTTP {answer.status}{_code(answer)})"
            )
        no_tag = f"ocidriver-probe-{secrets.token_hex(8)}"
        by_tag = await server.request("DELETE", route.manifest(image, no_tag), headers=headers)
    except RegistryError as error:
        return Probe(False, f"a trial delete got no answer: {error}")
    return Probe(True, by_digest=not _would_delete(by_tag))


def _would_delete(answer: Answer) -> bool:
    return answer.status in DELETED or is_absent(answer)


def _code(answer: Answer) -> str:
    code = error_code(answer)
    return f" {code}" if code else ""


def cannot_prune(option: str, server: str, reasons: Sequence[str]) -> RunError:
    """Returns the error for a server that cannot be pruned in any way."""
    return RunError(
        f"{option}: {server} cannot be pruned: {'; '.join(reasons)}. Leave out {option}, "
        "or allow deletes on the server (a docker-registry proxy never does)"
    )
