"""The grammar of repository names, tags and digests: the OCI distribution spec, "Pulling manifests".

Clients build URLs and command lines from these names, and crane accepts more than the spec (it sends `../x`). So the
driver checks every name from a server or a file here before it uses the name.
"""

from __future__ import annotations

import re
from typing import Final

REPOSITORY_LENGTH: Final = 255
TAG_LENGTH: Final = 128

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
# The algorithms of the clients' digest library (go-digest). Clients refuse others before any request.
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")

_ARTIFACT: Final = re.compile(
    r"(?:sha256|sha384|sha512|blake3)-[0-9a-f]{64}"
    r"|.*\.(?:sig|att|sbom|sigstore|sigstore\.json|intoto|intoto\.jsonl|prov)\Z"
    r"|(?:.*[._-])?buildcache\Z",
    re.IGNORECASE,
)


def valid_repository(name: str) -> bool:
    """Returns whether `name` is a repository name: lower-case components joined by `/`, at most 255 characters."""
    return len(name) <= REPOSITORY_LENGTH and _REPOSITORY.fullmatch(name) is not None


def valid_tag(tag: str) -> bool:
    """Returns whether `tag` is valid: at most 128 letters, digits, `_`, `.` and `-`, with `.` and `-` not first."""
    return len(tag) <= TAG_LENGTH and _TAG.fullmatch(tag) is not None


def valid_digest(digest: str) -> bool:
    """Returns whether `digest` is an algorithm and its lower-case hexadecimal value, as in `sha256:…`."""
    return _DIGEST.fullmatch(digest) is not None


def is_artifact_tag(tag: str) -> bool:
    """Returns whether this is a tag of a signature, an attestation or another artifact, and so not of an image.

    It is one if it names the digest of what it belongs to: the referrers tag of the OCI distribution spec, which cosign
    extends by `.sig`, `.att` and `.sbom`. It is one too if it ends in a suffix of such tools, or is a build cache.
    """
    return _ARTIFACT.match(tag) is not None


def split_reference(text: str) -> tuple[str, str, bool]:
    """Splits `repository:tag` or `repository@digest` into (repository, tag or digest, whether it is a digest).

    The text has no host; the driver adds one. Raises ValueError that says what is wrong, without the text itself.
    """
    repository, at, digest = text.partition("@")
    if at:
        return _checked(repository, digest, is_digest=True)
    repository, colon, tag = text.rpartition(":")
    if not colon:
        raise ValueError("no tag or digest: write repository:tag or repository@sha256:…")
    return _checked(repository, tag, is_digest=False)


def _checked(repository: str, reference: str, *, is_digest: bool) -> tuple[str, str, bool]:
    if not valid_repository(repository):
        raise ValueError(_repository_fault(repository))
    if is_digest and not valid_digest(reference):
        raise ValueError("not a digest: it must be sha256: and 64 lower-case hexadecimal digits")
    if not is_digest and not valid_tag(reference):
        raise ValueError(
            f"not a tag: at most {TAG_LENGTH} letters, digits, '_', '.' and '-', '.' and '-' not first"
        )
    return repository, reference, is_digest


def _repository_fault(repository: str) -> str:
    if len(repository) > REPOSITORY_LENGTH:
        return f"repository name longer than {REPOSITORY_LENGTH} characters"
    if ":" in repository:
        return "not a repository name: leave out the registry's host and port, and write a tag or a digest, not both"
    return "not a repository name: lower-case letters and digits, joined by single '.', '_', '-' or '/'"
