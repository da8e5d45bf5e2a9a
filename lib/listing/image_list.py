"""Parses the image list that a user gives in place of the upstream's catalog."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from ..clean import shown
from ..http.address import Endpoint
from ..http.logins import HUB_NAMES
from ..images import Heed, Image, PassedOver, heeding
from ..names import REPOSITORY_LENGTH
from .image_reference import Reference, is_image_id, read_reference
from .image_words import IDENTITY, PLAIN, ImageListError, Word, words_in

__all__ = ["ImageList", "ImageListError", "Upstreams", "parse_image_list"]

HUB: Final = "docker.io"
# The names that Docker Hub has without a namespace are those of its namespace `library`.
_LIBRARY: Final = "library"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
# A usual line: no host, a tag. It needs no closer look.
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_USUAL: Final = re.compile(
    rf"(?!localhost/|sha\d+:)([a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*(?:/{_PART})*):([a-zA-Z0-9_][a-zA-Z0-9._-]{{0,127}})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstreams:
    """The registries of a run, and what is to be done with images of another one.

    `names_others`: the layout names the upstream in each reference, so images of several upstreams can be pulled.
    `skip`: images of other upstreams are left out.
    """

    registry: Endpoint
    name: str
    pullthrough: Endpoint
    layout: str
    names_others: bool
    skip: bool

    @property
    def is_hub(self) -> bool:
        """Whether the upstream of the run is Docker Hub."""
        return bool({self.name.lower(), self.registry.name.lower()} & HUB_NAMES)

    def is_own(self, host: str) -> bool:
        """Whether this host of a list is the upstream of the run."""
        own = {self.name.lower(), self.registry.name.lower()}
        if host in own or (host in HUB_NAMES and self.is_hub):
            return True
        return _is_at(host, self.registry)

    def is_cache(self, host: str) -> bool:
        """Whether this host of a list is the server under test."""
        return host == self.pullthrough.name.lower() or _is_at(host, self.pullthrough)


def _is_at(host: str, endpoint: Endpoint) -> bool:
    """Whether a host, with or without a port, is this server. A port that is left out is the default one."""
    (name, port), (own, own_port) = _parted(host), _parted(endpoint.name.lower())
    default = "443" if endpoint.tls else "80"
    alike = name == own or {name, own} <= _LOOPBACK
    return alike and (port or default) == (own_port or default)


def _parted(host: str) -> tuple[str, str]:
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and port.isdigit() else (host, "")


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images of a list, in its order, without duplicates.

    `foreign` counts images of other upstreams that were left out. `notes` are for the log, `hints` for the user too.
    """

    images: tuple[Image, ...]
    foreign: int = 0
    notes: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    @property
    def listed(self) -> int:
        """The number of images before the filter."""
        return len(self.images)

    @property
    def repositories(self) -> int:
        """The number of repositories."""
        return len({image[::2] for image in self.images})

    def choose(
        self, accept: Callable[[str], bool] | None, all_tags: bool, passed_over: PassedOver, heed: Heed
    ) -> Iterator[Image]:
        """Yields the images that the filter accepts. What a user lists is pulled, whatever its tag."""
        images = heeding(self.images, heed)
        return (image for image in images if accept is None or accept(image.filtered_name))


def parse_image_list(lines: Iterable[str], upstreams: Upstreams) -> ImageList:
    """Returns the images of a list. `#` begins a comment.

    Raises ImageListError for a line that is not a valid image, or whose upstream the run cannot pull from.
    """
    reader = _Reader(upstreams)
    for word in words_in(lines):
        reader.read(word)
    return reader.result()


@dataclass(slots=True)
class _Reader:
    upstreams: Upstreams
    images: dict[Image, None] = field(default_factory=dict)
    identities: list[Word] = field(default_factory=list)
    keyed: bool = False
    untagged: Counter[str] = field(default_factory=Counter)
    library: Counter[str] = field(default_factory=Counter)
    left_out: dict[Image, None] = field(default_factory=dict)
    _hosts: dict[str, str | None] = field(default_factory=dict)
    _texts: dict[str, str] = field(default_factory=dict)
    _hub: bool = False

    def __post_init__(self) -> None:
        self._hub = self.upstreams.is_hub

    def read(self, word: Word) -> None:
        if word.kind == IDENTITY:
            self.identities.append(word)
            return
        self.keyed |= word.kind != PLAIN
        usual = None if self._hub else _USUAL.fullmatch(word.text)
        if usual and len(usual[1]) <= REPOSITORY_LENGTH:
            repository, tag = usual.groups()
            self.images[Image(repository, self._texts.setdefault(tag, tag))] = None
        elif word.kind == PLAIN or not is_image_id(word.text):
            self._add(word)

    def _add(self, word: Word) -> None:
        try:
            found = read_reference(word.text, certain=word.kind != PLAIN)
            host = found.host.lower()
            if host not in self._hosts:
                self._hosts[host] = self._upstream_of(host)
        except ValueError as error:
            raise ImageListError(f"line {word.place}: {shown(word.text)}: {error}") from None
        upstream = self._hosts[host]
        image = self._image(found, HUB if upstream is None and host in HUB_NAMES else upstream or host)
        if upstream is None:
            self.left_out[image] = None
            return
        self.images[image._replace(upstream=upstream)] = None
        if found.untagged:
            self.untagged[image.name] += 1

    def _image(self, found: Reference, upstream: str) -> Image:
        repository = found.repository
        if "/" not in repository and (upstream == HUB or (self._hub and not self._hosts[found.host.lower()])):
            repository = f"{_LIBRARY}/{repository}"
            if not found.host:
                self.library[found.repository] += 1
        return Image(repository, self._texts.setdefault(found.reference, found.reference), upstream)

    def _upstream_of(self, host: str) -> str | None:
        """Returns the upstream's name for `Image`; None if images of this host are left out.

        Raises ValueError if the run cannot pull them.
        """
        upstreams = self.upstreams
        if not host or upstreams.is_own(host):
            return ""
        if upstreams.skip:
            return None
        if upstreams.is_cache(host):
            raise ValueError(
                f"{host} is the server under test; name the image as its upstream does, or leave it out with "
                "--foreign skip"
            )
        if not upstreams.names_others:
            raise ValueError(
                f"its upstream is {host}, but this run's is {upstreams.name}, and --layout {upstreams.layout} cannot "
                "name another one; leave such images out with --foreign skip, or use --layout ociregistry"
            )
        return HUB if host in HUB_NAMES else host

    def result(self) -> ImageList:
        if not self.keyed:  # an ID of a container's image is only of use where its name is not there
            for word in self.identities:
                if not is_image_id(word.text.removeprefix("docker://")):
                    self._add(word)
        notes = []
        if self.untagged:
            notes.append(
                f"image list: {len(self.untagged)} images have no tag, such as {next(iter(self.untagged))}; "
                "their tag is latest"
            )
        if self.left_out:
            by_host = Counter(image.upstream for image in self.left_out)
            counts = ", ".join(f"{host}: {count}" for host, count in by_host.most_common(5))
            notes.append(
                f"image list: {len(self.left_out)} images of other upstreams are left out ({counts})"
            )
        hints = []
        if self.library:
            name = next(iter(self.library))
            hints.append(
                f"image list: {len(self.library)} names have no namespace; on Docker Hub, {name} is {_LIBRARY}/{name}, "
                "so that is pulled"
            )
        return ImageList(tuple(self.images), len(self.left_out), tuple(notes), tuple(hints))
