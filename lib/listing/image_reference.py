"""Reads the name of an image as Docker does, with or without a registry's host before it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..errors import UsageError
from ..http.address import parse_endpoint
from ..names import TAG_LENGTH, split_reference, valid_digest, valid_tag

LATEST: Final = "latest"
# What output of Kubernetes and of clients has before a name.
_PREFIXES: Final = ("docker://", "docker-pullable://")
_DOMAIN: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST: Final = re.compile(rf"(?:{_DOMAIN}(?:\.{_DOMAIN})*\.?|\[[0-9a-fA-F:.]+\])(?::[0-9]{{1,5}})?")


class Reference(NamedTuple):
    """The name of an image. `host` is empty if the name has none. `untagged`: `latest` was not written."""

    host: str
    repository: str
    reference: str
    untagged: bool = False


def read_reference(text: str, *, certain: bool = False) -> Reference:
    """Reads `[host/]repository[:tag][@digest]`. A digest counts more than a tag.

    The first segment is a host if it has a dot or a colon, or is `localhost`: Docker's rule. Without tag and digest,
    the tag is `latest` if the text has a host, or if it is `certain` that it names an image.
    Raises ValueError that says what is wrong, without the text itself.
    """
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            text, certain = text.removeprefix(prefix), True
    if "://" in text:
        raise ValueError("a URL: write the registry's host and the image, such as quay.io/team/app:v1")
    if text.endswith(":"):
        raise ValueError("it ends in a colon: write repository:tag; of YAML, only 'image: NAME' is read")
    if any(each in text for each in "{}$"):
        raise ValueError("a template that is not filled in: write the image itself")
    if is_image_id(text):
        raise ValueError("the ID of an image, without its repository: write repository@sha256:…")
    host, name = split_host(text)
    if host:
        _check_host(host)
    repository, at, digest = name.partition("@")
    tagged, colon, tag = repository.rpartition(":")
    if not at:
        untagged = not colon and bool(host or certain)
        split = split_reference(f"{name}:{LATEST}" if untagged else name)
        return Reference(host, split[0], split[1], untagged)
    if colon and not valid_tag(tag):
        raise ValueError(
            f"not a tag before the digest: at most {TAG_LENGTH} letters, digits, '_', '.' and '-'"
        )
    if colon:
        repository = tagged
    split = split_reference(f"{repository}@{digest}")
    return Reference(host, split[0], split[1])


def split_host(text: str) -> tuple[str, str]:
    """Splits `host/rest` by Docker's rule into (host, rest). The host is empty if there is none."""
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first.lower() == "localhost") and "@" not in first:
        return first, rest
    return "", text


def _check_host(host: str) -> None:
    try:
        if _HOST.fullmatch(host):
            parse_endpoint("", host)
            return
    except UsageError:
        pass
    raise ValueError("its first part is not a host; write host/repository:tag or host:port/repository:tag")


def is_image_id(text: str) -> bool:
    """Whether this is a digest alone, as `imageID` sometimes is."""
    return valid_digest(text)
