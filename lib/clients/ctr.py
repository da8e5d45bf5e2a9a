"""ctr: containerd's own pull, as a node makes it. Its argv, and what its stderr says about a launch.

`ctr content fetch` makes all requests itself and hands the bytes to containerd. `hosts.toml` names the server under
test as the only place to pull from. Without its `server` line ctr would silently ask the upstream if the server fails.

With `--debug` ctr shows no progress, whose ticks cost 0.1 s per fetch, and reports each request and answer on stderr.
Its own error is the first line that begins with ``ctr: ``. Log lines before it quote all text of servers. Behind
`` - Server message: `` (containerd 1.6 to 2.0) or a line break (from 2.1 on) stands text of the server, as it is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

from ..errors import RunError
from ..http.logins import Login
from ..outcomes import ErrorClass, http_class
from ..processes.launch import KEPT_HEAD, KEPT_STDERR, Outcome
from .client import Abilities, Executable, Orders
from .containerd import Containerd, find_containerd
from .files import authorities_environment, lean_environment
from .go_words import QUOTED, crash_or_last_line, own_class
from .hosts_toml import write_hosts
from .namespaces import Namespaces
from .platforms import picks_all
from .surroundings import say_what_is_not_read, variables_in, without

# What a line at a terminal may hold (termios(3), canonical mode), and ctr's buffer.
_LONGEST_PASSWORD: Final = 4000
# The variables of the user that ctr and a containerd of the run's own are not given. The first two kinds choose another
# containerd and another namespace, or send traces to a server. The last belongs to the service that starts the driver.
_CHOOSES: Final = ("CONTAINERD_*", "OTEL_*")
NOT_PASSED_ON: Final = (*_CHOOSES, "NOTIFY_SOCKET")


class Ctr:
    """Each worker has a namespace of its own: workers in one namespace would wait for each other's layers."""

    name: ClassVar[str] = "ctr"
    abilities: ClassVar[Abilities] = Abilities(
        sends_header=True,
        asks_mirror=True,
        reports_retries=True,
        shows_certificate=True,
        takes_registry_token=True,
        picks_scope=True,
        takes_ipv6=True,
        needs_service=True,
        picks=picks_all,
    )
    install: ClassVar[str] = "the package containerd"
    version_option: ClassVar[str] = "--version"

    def __init__(
        self,
        executable: Executable,
        orders: Orders,
        hosts: Path,
        namespaces: Namespaces,
        service: Containerd | None,
    ) -> None:
        """`service` is a containerd of the run's own, None for the user's."""
        self.executable = executable
        self.environment = {
            **orders.environment,
            **authorities_environment(orders.tls, orders.folder),
            **lean_environment(lean=orders.lean),
        }
        self._orders = orders
        self._hosts = hosts
        self._namespaces = namespaces
        self._service = service
        self._warned = threading.Lock()  # held for good once the user was warned
        self._noted = threading.Lock()  # the same of what is not an image

    @staticmethod
    def version_in(output: str) -> str | None:
        """From `ctr github.com/containerd/containerd 1.6.20`; since 2.0 it is `…/containerd/v2 v2.1.5`."""
        found = re.fullmatch(r"ctr \S*containerd\S* v?(\d\S*)", output)
        return found[1] if found else None

    @classmethod
    def set_up(cls, executable: Executable, orders: Orders) -> Ctr:
        """Writes `hosts.toml`, and starts a containerd unless the user names one."""
        _check_logins(orders)
        say_what_is_not_read(orders, cls.name, variables_in(orders.environment, _CHOOSES))
        orders = replace(orders, environment=without(orders.environment, NOT_PASSED_ON))
        service = None if orders.containerd_socket else find_containerd(executable.path, orders)
        address = orders.containerd_socket if service is None else service.address
        namespaces = Namespaces(executable.path, address, orders.environment)
        if service is None:
            namespaces.check(orders.stopped)
            namespaces.remove_stale()
        return cls.beside(executable, orders, namespaces, service)

    @classmethod
    def beside(
        cls, executable: Executable, orders: Orders, namespaces: Namespaces, service: Containerd | None
    ) -> Ctr:
        """The client for a containerd that is there."""
        return cls(executable, orders, write_hosts(orders), namespaces, service)

    def pull(self, references: Sequence[str], scratch: Path) -> list[str]:
        (reference,) = references
        login = self._login(reference)
        return self._namespaces.command(
            self._namespaces.current(scratch.name),
            *("content", "fetch", "--hosts-dir", str(self._hosts), "--platform", self._orders.platform),
            # 1.6 and 1.7 pull only what this platform needs, and do not know the option
            *(["--skip-metadata"] if _major(self.executable.version) >= 2 else []),
            *([f"--user={login.username}"] if login is not None and login.username else []),
            reference,
            debug=True,
        )

    def answer(self, references: Sequence[str]) -> bytes:
        (reference,) = references
        login = self._login(reference)
        return login.password_bytes if login is not None and login.username else b""

    def renewed(self, orders: Orders) -> Ctr:
        """A copy: a launch may take its name and its password from one login only."""
        _check_logins(orders)
        write_hosts(orders)
        other = copy(self)
        other._orders = orders
        return other

    def _login(self, reference: str) -> Login | None:
        repository = reference.partition("/")[2].partition("@")[0].partition(":")[0]
        return self._orders.logins.of(repository)

    def clean_up(self, references: Sequence[str], scratch: Path, outcome: Outcome) -> list[str] | None:
        """Removes the image. A launch that was killed leaves a lease, so its worker goes on in a new namespace."""
        if outcome.returncode < 0:
            self._namespaces.leave(scratch.name, remove=not outcome.interrupted)
            return None
        if outcome.returncode == 0:
            self._warn_if_skipped(outcome.stderr)
            self._note_artifact(references[0], outcome.stderr)
        namespace = self._namespaces.current(scratch.name)
        _, error = _log_and_error(outcome.stderr)
        if error is None:  # an image is there, also if it is only an index
            return self._namespaces.command(namespace, "images", "rm", "--sync", *references)
        if error.startswith(_NOTHING_FETCHED):
            return None
        return self._namespaces.command(namespace, "content", "prune", "references")

    def service_cpu_seconds(self) -> float:
        return 0.0 if self._service is None else self._service.cpu_seconds_since()

    def delete(self, reference: str, scratch: Path) -> list[str]:
        raise NotImplementedError("ctr has no command that deletes on a server")

    def needs(self) -> Sequence[str]:
        return ("its hosts.toml and its containerd exist during this run only",)

    def close(self) -> None:
        """Ends a containerd of the run's own, or empties the namespaces of the run in the user's."""
        if self._service is not None:
            self._service.close()
        elif not self._namespaces.remove_all():
            self._orders.caution(
                f"containerd at {self._namespaces.address} does not remove the namespaces of this run; "
                "the next run on this machine removes them"
            )

    @staticmethod
    def read(stderr: str) -> tuple[str, ErrorClass]:
        log, error = _log_and_error(stderr)
        if _UPSTREAM_ASKED.search(log):
            return "hosts.toml could not be read, so the upstream was asked", ErrorClass.CLIENT
        if error is not None:
            return error, _class(error, resumed=_RANGE.search(log) is not None)
        if _only_an_index(log):
            return "the index has no image for this platform", ErrorClass.NO_PLATFORM
        last = crash_or_last_line(log)
        return last, ErrorClass.CLIENT if last.startswith("No help topic for ") else own_class(last)

    @staticmethod
    def unshown(stderr: str) -> None:
        """ctr shows the status of every answer, or that there is no such image."""

    @staticmethod
    def succeeded(stderr: str) -> bool:
        """Whether an image was pulled. An index without this platform ends with status 0, and so does a fallback."""
        log, _ = _log_and_error(stderr)
        return not (_UPSTREAM_ASKED.search(log) or _only_an_index(log))

    def _warn_if_skipped(self, stderr: str) -> None:
        if self._warned.locked() or not _skipped(stderr) or not self._warned.acquire(blocking=False):
            return
        self._orders.caution(
            f"containerd at {self._namespaces.address} already holds layers, and does not pull them again: "
            'set content_sharing_policy = "isolated" in its configuration, or leave out --containerd-socket'
        )

    def _note_artifact(self, reference: str, stderr: str) -> None:
        if self._noted.locked():
            return
        other = next(
            (each["type"] for each in _DESCRIPTOR.finditer(stderr) if not _of_image(each["type"])), None
        )
        if other is not None and self._noted.acquire(blocking=False):
            self._orders.caution(
                f"{reference} is not an image: it has content of the type {other}; ctr pulls such artifacts, and they "
                "count as pulled"
            )

    @staticmethod
    def retries(stderr: str, *, succeeded: bool) -> int:
        """Requests that ctr made again after a bad answer, or for the rest of a layer (`Range`).

        For a stderr that is so long that its middle is lost, the true number may be higher.
        """
        bad: set[str] = set()
        count = 0
        log, _ = _log_and_error(stderr)
        for line in _EXCHANGE.finditer(log):
            fields, _, url = line["fields"].rpartition(" url=")
            if line["what"] == "do request":
                count += url in bad or " request.header.range=" in fields
                bad.discard(url)
            # the last field that may have this name: no text of a server stands behind it
            elif _is_bad(fields.rpartition(' response.status="')[2][:3]):
                bad.add(url)
        return count


def _check_logins(orders: Orders) -> None:
    """Raises RunError for a login that cannot be given to ctr without showing it to everybody."""
    server = urlsplit(orders.server_url).netloc
    for login in orders.logins.all:
        if login.registry_token:
            if login is not orders.logins.server:
                raise RunError(
                    f"ctr takes a registry token for a whole server only; {login.path} has one for a part of {server}: "
                    "use another client"
                )
            continue
        if login.identity_token:
            raise RunError(
                "ctr takes an identity token only on its command line, where everybody can read it; "
                f"{login.path} has one for {server}: log in with a name and a password, or use another client"
            )
        password = login.password_bytes
        if not 0 < len(password) <= _LONGEST_PASSWORD or any(
            byte < 0x20 or byte == 0x7F for byte in password
        ):
            raise RunError(
                f"ctr reads a password as one line of at most {_LONGEST_PASSWORD} bytes; {login.path} has another one "
                f"for {server}: use another client"
            )


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdigit() else 0


# --- stderr

_ERROR: Final = re.compile(r"^ctr: ", re.MULTILINE)
_SERVER_TEXT: Final = re.compile(r" - Server message: |\n")
_RESOLVE: Final = re.compile(r'^failed to resolve reference "(?:[^"\\]|\\.)*": ')
# Before a manifest was there nothing was written.
_NOTHING_FETCHED: Final = ("failed to resolve reference ", "failed to dial ")
_UPSTREAM_ASKED: Final = re.compile(
    r'^time="[^"\n]*" level=error msg="failed to decode [^"\n]*hosts\.toml"', re.MULTILINE
)
# What ctr did when it failed. Behind it may stand a text of the server, so every pattern begins here.
_DOING: Final = (
    r"^(?:failed to (?:copy|authorize|fetch (?:anonymous|oauth) token): |httpReadSeeker: |failed open: )*"
)
_ANSWER: Final = re.compile(
    _DOING + r"(?:"
    r"pulling from host \S+ failed with (?:unexpected )?status code \[[^\]]*\]|"  # 1.6, of a manifest
    r"unexpected status from [A-Z]+ request to https?://\S+|"  # 1.7 and 2, of a manifest or token; 2.1, of a blob
    r"unexpected status code https?://\S+|"  # 1.6 to 2.0, of a blob
    r"unexpected status"  # 1.6, of a token
    r"): (?P<status>\d{3})(?: |$)"
)
_ABSENT: Final = re.compile(_DOING + "could not fetch content descriptor ")
# A manifest of another type is asked for as if it were a layer, so what it is, is wrong, and not that it is absent.
_OF_AN_IMAGE: Final = re.compile(r"sha\d+:[0-9a-f]+ \(application/vnd\.")
_OF_NO_IMAGE: Final = re.compile(
    r"sha\d+:[0-9a-f]+ \(application/vnd\."
    r"(?!oci\.image\.(?:manifest|index)\.|docker\.distribution\.manifest\.)[\w.+-]{0,200}\bmanifest\b[\w.+-]{0,200}\)"
)
_SHORT: Final = re.compile(
    "^(?:failed to read expected number of bytes|short read: expected [0-9]+ bytes but got [0-9]+): unexpected EOF$"
)
_RANGE: Final = re.compile(
    r'^time="[^"\n]*" level=debug msg="do request"[^\n]* request\.header\.range=', re.MULTILINE
)
# A request, or an answer; the fields are in the order of their names.
_EXCHANGE: Final = re.compile(
    r'^time="[^"\n]*" level=debug msg="(?P<what>do request|fetch response received)"(?P<fields> .*)$',
    re.MULTILINE,
)
_DESCRIPTOR: Final = re.compile(
    r'^time="[^"\n]*" level=debug msg=fetch digest="(?P<digest>[^"\n]+)" mediatype="?(?P<type>[^" \n]+)',
    re.MULTILINE,
)
_REQUESTED: Final = re.compile(
    r'^time="[^"\n]*" level=debug msg="do request" digest="(?P<digest>[^"\n]+)"', re.MULTILINE
)
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
# What the media types of all manifests, configs and layers of images begin with.
_OF_IMAGES: Final = (
    "application/vnd.oci.image.",
    "application/vnd.docker.",
)
_PLUGIN: Final = "application/vnd.docker.plugin."
_C = ErrorClass
_RULES: Final = tuple(
    (error_class, re.compile("|".join(patterns)))
    for error_class, *patterns in (
        (
            _C.CLIENT,
            '^failed to dial "',
            '^connection error: desc = "',
            "^cannot access socket ",
            "^namespace ",
        ),
        (_C.CLIENT, "^flag provided but not defined", "^invalid platform "),
        (_C.CLIENT, "^unable to (?:read|load) C(?:A|ERT) ", "^failed to load X509 key pair"),
        (_C.BAD_DIGEST, '^failed commit on ref "": .*(?:unexpected commit digest|failed size validation)'),
        (_C.BAD_CONTENT, "^children: invalid desc ", r"^unable to fetch descriptor \("),
        (_C.BAD_CONTENT, '^"" in header not a valid digest', "^invalid token auth challenge realm: "),
        (_C.BAD_CONTENT, _DOING + 'failed to do request: [A-Z][a-z]+ "": failed to parse Location header ""'),
        (
            _C.BAD_CONTENT,
            _DOING + 'failed to do request: [A-Z][a-z]+ "": net/http: invalid header field value',
        ),
        (_C.DISK, _DOING + r"(?:failed to send write: )?(?:write|open|mkdir) /\S+: no space left on device"),
        (_C.CLIENT, _DOING + "failed to send write: EOF: unknown$", "error reading from server: EOF"),
        (_C.CLIENT, ": unavailable$"),
        (_C.BAD_REFERENCE, "^hostname required$", "^object required$", "^invalid checksum digest"),
        (_C.BAD_REFERENCE, '^parse "": invalid ', "^invalid reference"),
        (_C.UNAUTHORIZED, "^pull access denied, "),
        (_C.UNAUTHORIZED, _DOING + "authorization server did not include a token in the response$"),
        (_C.UNSUPPORTED, "^no signatures$", "Pulling Schema 1 images have been deprecated"),
        (_C.UNSUPPORTED, '^(?:not implemented: )?media type "" is no longer supported'),
    )
)


def _log_and_error(stderr: str) -> tuple[str, str | None]:
    """ctr's log, and its own error if it shows one. Only the log holds no line of a server's making."""
    found = _ERROR.search(stderr)
    return (stderr, None) if found is None else (stderr[: found.start()], stderr[found.end() :].strip())


def _class(error: str, *, resumed: bool) -> ErrorClass:
    """`resumed`: ctr asked for the rest of a layer, whose connection was lost before."""
    words = _RESOLVE.sub("", _SERVER_TEXT.split(error, maxsplit=1)[0])
    bare = QUOTED.sub('""', words)
    answer = _ANSWER.search(bare)
    if answer:
        status = int(answer["status"])
        of_manifest = "[manifests " in answer[0] or "/manifests/" in answer[0]
        return _C.BAD_REFERENCE if status == 400 and of_manifest else http_class(status)
    absent = _ABSENT.search(bare)
    if absent:
        if _OF_NO_IMAGE.match(bare, absent.end()):
            return _C.UNSUPPORTED
        return _C.NOT_FOUND if _OF_AN_IMAGE.match(bare, absent.end()) else _C.BAD_CONTENT
    if _SHORT.search(bare):
        return _C.RESET if resumed else _C.BAD_DIGEST
    for error_class, pattern in _RULES:
        if pattern.search(bare):
            return error_class
    return _C.NOT_FOUND if bare.endswith(": not found") else own_class(bare)


def _only_an_index(log: str) -> bool:
    types = [each["type"] for each in _DESCRIPTOR.finditer(log)]
    return bool(types) and all(each in _INDEXES for each in types) and _is_whole(log)


def _of_image(media_type: str) -> bool:
    return media_type.startswith(_OF_IMAGES) and not media_type.startswith(_PLUGIN)


def _skipped(stderr: str) -> bool:
    """Whether ctr did not ask for a layer or manifest of the image, as containerd had it."""
    requested = {each["digest"] for each in _REQUESTED.finditer(stderr)}
    missing = any(each["digest"] not in requested for each in _DESCRIPTOR.finditer(stderr))
    return missing and _is_whole(stderr)


def _is_whole(stderr: str) -> bool:
    """Whether the launcher has kept all of it. An image of some forty layers may have a longer one."""
    return len(stderr.encode("utf-8", "replace")) < KEPT_HEAD + KEPT_STDERR


def _is_bad(status: str) -> bool:
    """A status after which ctr may ask again."""
    return status in ("408", "429") or (status[:1] == "5" and status.isdigit())
