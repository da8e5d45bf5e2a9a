"""The clients: argv for pull and delete, finding them, their version. Pure but for `find_client` and skopeo's list.

Pulled bytes are not kept: crane writes its tarball to /dev/null, skopeo a docker-archive to the same. Only skopeo's
`sync`, for several images in a launch, knows no such place: it writes to the worker's folder, which is emptied then.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .clean import clean
from .errors import RunError, UsageError
from .failures.classify import classify
from .launch import Outcome
from .outcomes import ErrorClass, Failure

NAMES = ("crane", "skopeo")
_INSTALL = (
    "install it (crane: 'go install github.com/google/go-containerregistry/cmd/crane@latest', "
    "skopeo: the package of that name) or give a path with --client"
)
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm/v7", "armv6l": "arm/v6"}


class Client(Protocol):
    """What the driver needs of a tool. `scratch` is a folder of the worker's own, emptied after a failure."""

    @property
    def name(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def version(self) -> str: ...

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]: ...

    def leaves_files(self, images: int) -> bool:
        """Whether a pull of so many images fills `scratch` also where it succeeds."""
        ...

    def delete(self, reference: str, scratch: Path) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Crane:
    """`insecure`: it may ask in plain http, and checks no certificate."""

    path: str
    version: str
    platform: str
    insecure: bool
    name: str = "crane"

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        return [*self._command("pull"), "--platform", self.platform, *references, os.devnull]

    def leaves_files(self, images: int) -> bool:
        return False

    def delete(self, reference: str, scratch: Path) -> list[str]:
        return [*self._command("delete"), reference]

    def _command(self, verb: str) -> list[str]:
        # crane takes plain http by itself for loopback and private addresses only
        return [self.path, verb, "--insecure"] if self.insecure else [self.path, verb]


@dataclass(frozen=True, slots=True)
class Skopeo:
    """`insecure` as for crane; `certificates` is a folder with `client.cert` and `client.key`."""

    path: str
    version: str
    platform: str
    insecure: bool
    authfile: Path
    certificates: Path | None = None
    name: str = "skopeo"

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

    def leaves_files(self, images: int) -> bool:
        return images > 1

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
        return [self.path, "--insecure-policy", "--tmpdir", str(scratch), *overrides]

    def delete(self, reference: str, scratch: Path) -> list[str]:
        return [
            self.path,
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


def this_platform() -> str:
    """OS/ARCH of this machine in Go's words; containers are Linux's also where the driver does not run on it."""
    machine = platform.machine()
    return f"linux/{_MACHINES.get(machine, machine)}"


def parse_platform(text: str) -> str:
    """`OS/ARCH` or `OS/ARCH/VARIANT`; anything else is wrong usage."""
    parts = text.split("/")
    if len(parts) not in (2, 3) or not all(
        part.isascii() and part.replace("_", "").isalnum() for part in parts
    ):
        raise UsageError(f"--platform: '{text}' is not OS/ARCH, such as linux/amd64")
    return text


@dataclass(frozen=True, slots=True)
class Found:
    """A client's executable: `kind` is crane or skopeo, `path` absolute."""

    kind: str
    path: str
    version: str


def find_client(wanted: str, environment: Mapping[str, str]) -> Found:
    """`auto`, a name or a path to the executable there is; RunError where there is none or it does not answer."""
    names = NAMES if wanted == "auto" else (wanted,)
    for name in names:
        path = _which(name)
        if path:
            return _identify(path, environment)
    if wanted == "auto":
        raise RunError(f"neither crane nor skopeo was found on PATH: {_INSTALL}")
    raise RunError(f"the client '{wanted}' was not found or cannot be executed: {_INSTALL}")


def _which(name: str) -> str | None:
    """On PATH, else beside this interpreter, where a virtual environment keeps what was set up with it."""
    beside = os.pathsep.join([os.environ.get("PATH", os.defpath), os.path.dirname(sys.executable)])
    path = shutil.which(name, path=beside)
    return os.path.abspath(path) if path else None


def _identify(path: str, environment: Mapping[str, str]) -> Found:
    """Ask the executable what it is: crane has the command `version`, skopeo the option `--version`."""
    base = os.path.basename(path).lower()
    kinds = NAMES if "skopeo" not in base else tuple(reversed(NAMES))
    reasons = []
    for kind in kinds:
        try:
            output = _ask(path, "version" if kind == "crane" else "--version", environment)
        except RunError as error:
            reasons.append(str(error))
            continue
        if kind == "skopeo" and output.startswith("skopeo version "):
            return Found(kind, path, output.split()[2])
        if kind == "crane" and output and len(output.split()) == 1:
            return Found(kind, path, output.removeprefix("v"))
    why = reasons[0] if reasons else "it answers neither as crane nor as skopeo does"
    raise RunError(f"the client '{path}' does not work: {why}")


def _ask(path: str, question: str, environment: Mapping[str, str]) -> str:
    import sh

    try:
        command = sh.Command(path)
        return str(
            command(question, _timeout=10, _tty_out=False, _new_session=True, _env=dict(environment))
        ).strip()
    except sh.TimeoutException:
        raise RunError(f"'{path} {question}' did not answer within 10 s") from None
    except sh.SignalException as error:
        raise RunError(f"'{path} {question}' was ended by signal {-error.exit_code}") from None
    except sh.ErrorReturnCode as error:
        raise RunError(f"'{path} {question}' ended with status {error.exit_code}") from None
    except OSError as error:
        raise RunError(f"'{path}' cannot be started: {error.strerror}") from None
    except (sh.CommandNotFound, sh.ForkException):
        raise RunError(f"'{path}' cannot be executed") from None


def with_header(config: Mapping[str, Any], header: tuple[str, str]) -> dict[str, Any]:
    """A Docker config with one more HTTP header, which crane sends with each request."""
    headers = config.get("HttpHeaders")
    merged = dict(headers) if isinstance(headers, Mapping) else {}
    merged[header[0]] = header[1]
    return {**config, "HttpHeaders": merged}


_NOT_EXECUTABLE = (errno.ENOENT, errno.EACCES, errno.ENOEXEC, errno.ENOTDIR, errno.EPERM)


def _own_error(error: OSError) -> ErrorClass:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ErrorClass.DISK
    return ErrorClass.CLIENT if error.errno in _NOT_EXECUTABLE else ErrorClass.OTHER


def failure_of(client: str, outcome: Outcome) -> Failure:
    """The class and message of a launch that did not succeed."""
    if outcome.error is not None:
        return Failure(_own_error(outcome.error).value, clean(outcome.stderr))
    failure = classify(client, outcome.returncode, outcome.stderr, timed_out=outcome.timed_out)
    if outcome.timed_out and not failure.message:
        return Failure(failure.error_class, f"killed after {outcome.seconds:.1f} s (--pull-timeout)")
    return failure
