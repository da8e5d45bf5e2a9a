"""skopeo: its argv, and what its stderr says about a failed launch.

skopeo writes each image to a folder (`dir:`), whose files are removed after the launch. Of all destinations, only this
one takes every image as it is: it converts no manifest and unpacks no layer. `skopeo sync`, which pulls several images
in one launch, has no other. The folder is in memory if there is room (`ImageFolders`).

skopeo's last record is one line, ``level=fatal msg="…"``. It names the steps first (``reading manifest …: ``). Then
follows either an error of skopeo's own, or a status or code and the server's text, which skopeo quotes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from ..outcomes import CODES, ErrorClass, http_class
from ..processes.launch import Outcome
from .client import BASE, BLOB, MANIFEST, Abilities, Executable, Orders, Unshown
from .containers_config import not_read, write_config
from .files import authorities_environment, docker_config
from .go_words import QUOTED, crash_or_last_line, own_class
from .memory import ImageFolders, folder_in_memory
from .platforms import picks_best
from .surroundings import say_what_is_not_read


@dataclass(frozen=True, slots=True)
class Skopeo:
    """`insecure`: skopeo may ask in plain http, and checks no certificate.

    `certificates` is a folder with `client.cert` and `client.key`, or an empty one. `registries_d` is an empty folder.
    Without them, skopeo looks for the user's.
    """

    executable: Executable
    platform: str
    insecure: bool
    authfile: Path
    certificates: Path | None = None
    registries_d: Path | None = None
    images: ImageFolders = field(default_factory=ImageFolders)
    environment: Mapping[str, str] = field(default_factory=dict)

    name: ClassVar[str] = "skopeo"
    abilities: ClassVar[Abilities] = Abilities(
        takes_several=True,
        leaves_files_from=1,
        hides_artifacts=True,
        deletes=True,
        resolves_digest=True,
        shows_certificate=True,
        tries_tls_first=True,
        picks_scope=True,
        podman_logins_first=True,
        picks=picks_best,
    )
    install: ClassVar[str] = "the package of that name"
    version_option: ClassVar[str] = "--version"

    @staticmethod
    def version_in(output: str) -> str | None:
        return output.split()[2] if output.startswith("skopeo version ") else None

    @classmethod
    def set_up(cls, executable: Executable, orders: Orders) -> Skopeo:
        """Writes the login into an authfile, which skopeo wants to exist even if it is empty."""
        authfile = docker_config(orders.folder("docker"), orders.docker_config or {})
        config = write_config(orders)
        environment = {
            **config.environment,
            "DOCKER_CONFIG": str(authfile.parent),
            **authorities_environment(orders.tls, orders.folder),
        }
        say_what_is_not_read(orders, cls.name, not_read(orders.environment, orders.host))
        return cls(
            executable,
            orders.platform,
            orders.insecure,
            authfile,
            certificates=config.certificates,
            registries_d=config.registries_d,
            images=ImageFolders(folder_in_memory(orders.elsewhere)),
            environment=environment,
        )

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        images = self.images.take(scratch, len(references))
        if len(references) > 1:
            return self._sync(references, scratch, images)
        return [
            *self._command(scratch),
            "copy",
            "--quiet",
            "--remove-signatures",
            *self._security("--src-"),
            f"docker://{references[0]}",
            f"dir:{images}",
        ]

    def answer(self, references: Sequence[str]) -> bytes:
        return b""

    def renewed(self, orders: Orders) -> Skopeo:
        docker_config(self.authfile.parent, orders.docker_config or {})
        return self

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
        """Removes the images from memory, which needs no launch."""
        self.images.empty(scratch, len(references))
        return None

    def service_cpu_seconds(self) -> float:
        return 0.0

    def needs(self) -> Sequence[str]:
        return ("its files exist during this run only",)

    def close(self) -> None:
        """skopeo leaves nothing outside of the scratch folder."""

    @staticmethod
    def read(stderr: str) -> tuple[str, ErrorClass]:
        words = _words(stderr)
        return words, _judged(words)[0]

    @staticmethod
    def unshown(stderr: str) -> Unshown | None:
        return _judged(_words(stderr))[1]

    @staticmethod
    def succeeded(stderr: str) -> bool:
        return True

    @staticmethod
    def retries(stderr: str, *, succeeded: bool) -> None:
        """skopeo retries silently."""

    def _sync(self, references: Sequence[str], scratch: Path, images: Path) -> list[str]:
        """Several images in one launch; OSError where the list of them cannot be written."""
        listed = scratch / "images.yaml"
        listed.write_text(sync_list(references, not self.insecure, self.certificates))
        return [
            *self._command(scratch),
            "sync",
            "--scoped",
            "--remove-signatures",
            "--src=yaml",
            "--dest=dir",
            *self._security("--src-"),
            str(listed),
            str(images),
        ]

    def _command(self, scratch: Path) -> list[str]:
        system, machine, *variant = self.platform.split("/")
        overrides = ["--override-os", system, "--override-arch", machine]
        if variant:
            overrides += ["--override-variant", variant[0]]
        return [*self._global(scratch), *overrides]

    def delete(self, reference: str, scratch: Path) -> list[str]:
        return [*self._global(scratch), "delete", *self._security("--"), f"docker://{reference}"]

    def _global(self, scratch: Path) -> list[str]:
        registries_d = ["--registries.d", str(self.registries_d)] if self.registries_d else []
        # skopeo ignores TMPDIR, and leaves its files in --tmpdir when it is killed
        return [self.executable.path, "--insecure-policy", *registries_d, "--tmpdir", str(scratch)]

    def _security(self, dashes: str) -> list[str]:
        verify = "false" if self.insecure else "true"
        shown = [f"{dashes}cert-dir", str(self.certificates)] if self.certificates else []
        return [f"{dashes}tls-verify={verify}", f"{dashes}authfile", str(self.authfile), *shown]


def sync_list(references: Sequence[str], tls_verify: bool, certificates: Path | None) -> str:
    """What `skopeo sync` reads, as JSON, which is YAML too: by registry, by repository, the tags and digests.

    Its word on certificates counts more than the command line's, even where it has none.
    """
    security: dict[str, Any] = {"tls-verify": tls_verify}
    if certificates is not None:
        security["cert-dir"] = str(certificates)
    registries: dict[str, Any] = {}
    for reference in references:
        host, _, name = reference.partition("/")
        repository, _, wanted = name.partition("@") if "@" in name else name.rpartition(":")
        registry = registries.setdefault(host, {**security, "images": {}})
        registry["images"].setdefault(repository, []).append(wanted)
    return json.dumps(registries)


_C = ErrorClass
_FATAL: Final = re.compile(r'^time="[^"]*" level=fatal msg=(?P<value>"(?:[^"\\]|\\.)*"|\S+)', re.MULTILINE)
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_DELETE: Final = re.compile(r"^Failed to delete \S+: .*\((?P<status>\d{3}) [^()]*\)\s*$", re.DOTALL)
_ANSWER: Final = re.compile(
    r"(?:^|: )(?:"
    r"(?:StatusCode:|(?:received )?unexpected HTTP status:?|invalid status code from registry|"
    r"invalid status code returned when fetching blob|reading signature from \S+: status) "
    r"(?P<status>\d{3})\b|"
    r"(?P<limited>too many requests to registry)|"
    r"(?P<refused>unable to retrieve auth token: invalid username/password)|"
    r"(?:errors:\n)?(?P<code>[a-z][a-z0-9_ ]*)(?=: |:?\Z|\n)|"
    r"(?P<message>[A-Za-z .]+)\Z)"
)
# skopeo shows a code in lower case, without underscores, and every code that it does not know as `unknown`.
_CODES: Final = {
    code.lower().replace("_", " "): CODES[code]
    for code in (
        "UNAUTHORIZED",
        "DENIED",
        "MANIFEST_UNKNOWN",
        "MANIFEST_BLOB_UNKNOWN",
        "NAME_UNKNOWN",
        "BLOB_UNKNOWN",
        "TOOMANYREQUESTS",
        "UNSUPPORTED",
        "NAME_INVALID",
        "TAG_INVALID",
        "MANIFEST_INVALID",
        "SIZE_INVALID",
    )
} | {"digest invalid": _C.BAD_REFERENCE}
# Codes, and their usual messages, that say nothing about a class.
_OPEN: Final = (
    "unknown",
    "unknown error",
    "unavailable",
    "service unavailable",
    "manifest unverified",
    "manifest failed signature verification",
    "blob upload unknown",
    "blob upload unknown to registry",
    "blob upload invalid",
    "pagination number invalid",
    "invalid number of results requested",
)
# Newer versions show the usual message in place of the code, if the server sends a detail with it.
_MESSAGES: Final = {
    "authentication required": _C.UNAUTHORIZED,
    "requested access to the resource is denied": _C.FORBIDDEN,
    "repository name not known to registry": _C.NOT_FOUND,
    "blob unknown to registry": _C.NOT_FOUND,
    "too many requests": _C.RATE_LIMITED,
    "The operation is unsupported.": _C.UNSUPPORTED,
    "invalid repository name": _C.BAD_REFERENCE,
    "manifest tag did not match URI": _C.BAD_REFERENCE,
    "provided digest did not match uploaded content": _C.BAD_REFERENCE,
    "provided length did not match content length": _C.BAD_DIGEST,
}
# The last step that skopeo names before the answer.
_STEP: Final = re.compile(
    r"(?:^|: )(?:(?P<base>pinging container registry) |reading manifest (?P<manifest>\S+) in |"
    r"reading (?:config )?blob (?P<blob>\S+): )"
)
_ANSWERED: Final = range(400, 500)  # for others skopeo shows the status


def _words(stderr: str) -> str:
    """The message of skopeo's last fatal record, unquoted; no server can forge one, for skopeo quotes it."""
    found = _FATAL.findall(stderr)
    if not found:
        return crash_or_last_line(stderr)
    value = str(found[-1])
    return (_unquote(value[1:-1]) if value.startswith('"') else value).strip()


def _unquote(text: str) -> str:
    """Undoes Go's quoting."""

    def character(match: re.Match[str]) -> str:
        digits = match[1] or match[2] or match[3]
        if not digits:
            return _ESCAPES.get(match[4], match[4])
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF else "\ufffd"

    return _ESCAPE.sub(character, text)


def _judged(words: str) -> tuple[ErrorClass, Unshown | None]:
    """The class, and the server's answer if skopeo does not show its status."""
    deleted = _DELETE.match(words)
    if deleted:
        return http_class(int(deleted["status"])), None
    found = _answer(words)
    return (own_class(QUOTED.sub('""', words)), None) if found is None else found


def _answer(words: str) -> tuple[ErrorClass, Unshown | None] | None:
    """The class of what the server answered; None where it is skopeo itself that complains.

    skopeo names its steps first, with words that are no codes; the first code or status is the answer's.
    """
    bare = QUOTED.sub(lambda quoted: '"' * len(quoted[0]), words)
    for match in _ANSWER.finditer(bare):
        if match["status"]:
            return http_class(int(match["status"])), None
        if match["limited"]:
            return _C.RATE_LIMITED, None
        if match["refused"]:
            return _C.UNAUTHORIZED, None
        code = match["code"] or match["message"]
        if code in _OPEN:
            return _C.OTHER, _unshown(words[: match.start()], words[match.start() :])
        known = _CODES.get(code) or _MESSAGES.get(code)
        if known is not None:
            return known, _unshown(words[: match.start()], words[match.start() :])
    return None


def _unshown(steps: str, text: str) -> Unshown:
    named = [*_STEP.finditer(f"{steps}: ")]
    if not named:
        return Unshown(MANIFEST, "", text, _ANSWERED)
    last = named[-1]
    if last["base"]:
        return Unshown(BASE, "", text, _ANSWERED)
    if last["blob"]:
        return Unshown(BLOB, last["blob"], text, _ANSWERED)
    return Unshown(MANIFEST, last["manifest"], text, _ANSWERED)
