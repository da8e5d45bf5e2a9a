"""skopeo: its argv, and what its stderr says about a failed launch.

Pulled bytes are not kept: skopeo writes a docker-archive to /dev/null. Only `skopeo sync`, which pulls several images
in one launch, needs a folder: it writes to the worker's scratch folder, which the driver empties after each launch.

skopeo's last record is one line, ``level=fatal msg="…"``. It names the steps first (``reading manifest …: ``). Then
follows either an error of skopeo's own, or a status or code and the server's text, which skopeo quotes.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from ..outcomes import CODES, ErrorClass, http_class
from ..processes.launch import Outcome
from .client import Abilities, Executable, Orders
from .files import authorities_environment, certificate_folder, docker_config
from .go_words import QUOTED, crash_or_last_line, own_class


@dataclass(frozen=True, slots=True)
class Skopeo:
    """`insecure`: skopeo may ask in plain http, and checks no certificate.

    `certificates` is a folder with `client.cert` and `client.key`.
    """

    executable: Executable
    platform: str
    insecure: bool
    authfile: Path
    certificates: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    name: ClassVar[str] = "skopeo"
    abilities: ClassVar[Abilities] = Abilities(
        takes_several=True,
        leaves_files_from=2,
        deletes=True,
        resolves_digest=True,
        shows_certificate=True,
        picks_scope=True,
        podman_logins_first=True,
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
        environment = {
            "DOCKER_CONFIG": str(authfile.parent),
            **authorities_environment(orders.tls, orders.folder),
        }
        certificates = certificate_folder(orders.tls, orders.folder)
        return cls(executable, orders.platform, orders.insecure, authfile, certificates, environment)

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        if len(references) > 1:
            return self._sync(references, scratch)
        return [
            *self._command(scratch),
            "copy",
            "--quiet",
            *self._security("--src-"),
            f"docker://{references[0]}",
            f"docker-archive:{os.devnull}:x:y",
        ]

    def answer(self, references: Sequence[str]) -> bytes:
        return b""

    def renewed(self, orders: Orders) -> Skopeo:
        docker_config(self.authfile.parent, orders.docker_config or {})
        return self

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
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
        return words, _class(words)

    @staticmethod
    def succeeded(stderr: str) -> bool:
        return True

    @staticmethod
    def retries(stderr: str, *, succeeded: bool) -> None:
        """skopeo retries silently."""

    def _sync(self, references: Sequence[str], scratch: Path) -> list[str]:
        """Several images in one launch; OSError where the list of them cannot be written."""
        listed = scratch / "images.yaml"
        listed.write_text(sync_list(references, not self.insecure, self.certificates))
        return [
            *self._command(scratch),
            "sync",
            "--scoped",
            "--src=yaml",
            "--dest=dir",
            *self._security("--src-"),
            str(listed),
            str(scratch / "images"),
        ]

    def _command(self, scratch: Path) -> list[str]:
        system, machine, *variant = self.platform.split("/")
        overrides = ["--override-os", system, "--override-arch", machine]
        if variant:
            overrides += ["--override-variant", variant[0]]
        # skopeo unpacks to --tmpdir, ignores TMPDIR, and leaves its files there when it is killed
        return [self.executable.path, "--insecure-policy", "--tmpdir", str(scratch), *overrides]

    def delete(self, reference: str, scratch: Path) -> list[str]:
        return [
            self.executable.path,
            "--insecure-policy",
            "--tmpdir",
            str(scratch),
            "delete",
            *self._security("--"),
            f"docker://{reference}",
        ]

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
    r"(?:StatusCode:|(?:received )?unexpected HTTP status:?|invalid status code from registry) "
    r"(?P<status>\d{3})\b|"
    r"(?:errors:\n)?(?P<code>[a-z][a-z0-9_ ]*)(?=: |:\Z)|"
    r"(?P<limited>too many requests to registry))"
)
_CODES: Final = {code.lower().replace("_", " "): error_class for code, error_class in CODES.items()} | {
    "unknown": _C.SERVER_ERROR,  # a 408, or a 4xx with a code of its own; for 5xx skopeo gives the status
    "digest invalid": _C.BAD_REFERENCE,
}


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


def _class(words: str) -> ErrorClass:
    deleted = _DELETE.match(words)
    if deleted:
        return http_class(int(deleted["status"]))
    unquoted = QUOTED.sub('""', words)
    return _answer_class(unquoted) or own_class(unquoted)


def _answer_class(words: str) -> ErrorClass | None:
    """What the server answered, or None where it is skopeo itself that complains.

    skopeo names its steps first, with words that are no codes; the first code or status is the answer's.
    """
    for match in _ANSWER.finditer(words):
        if match["status"]:
            return http_class(int(match["status"]))
        if match["limited"]:
            return _C.RATE_LIMITED
        if match["code"] in _CODES:
            return _CODES[match["code"]]
    return None
