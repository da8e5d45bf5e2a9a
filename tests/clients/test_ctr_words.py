"""What versions of ctr say of the same faults, and how its stderr is judged where it is long."""

from __future__ import annotations

from pathlib import Path

import pytest

from lib.clients.classify import classify
from lib.clients.client import Executable, Orders
from lib.clients.ctr import Ctr
from lib.clients.hosts_toml import _toml
from lib.errors import RunError
from lib.http.logins import Login, Logins
from lib.http.tls import Tls
from lib.processes.launch import KEPT_HEAD, KEPT_STDERR

BLOB = "failed to copy: httpReadSeeker: failed open: "
NAME = "up.example:5000/a/app:v1"
RESOLVE = f'failed to resolve reference "{NAME}": '
URL = "http://127.0.0.1:5000/v2/a/app/manifests/v1?ns=up.example%3A5000"
SOCKET = "/run/containerd/containerd.sock"
ALONE = "unexpected status"

# Of 1.6.20, 1.7.29, 2.0.0 and 2.3.4; where the versions differ, each has its lines.
WORDS = [
    # the manifest: 1.6, then 1.7 and later, then 2.3 with the server's text
    (
        f"{RESOLVE}pulling from host 127.0.0.1:5000 failed with status code [manifests v1]: 503 Service Unavailable",
        "server-error",
    ),
    (f"{RESOLVE}{ALONE} from HEAD request to {URL}: 503 Service Unavailable", "server-error"),
    (f"{RESOLVE}{ALONE} from HEAD request to {URL}: 403 Forbidden\ndenied: no such host", "forbidden"),
    (f"{RESOLVE}{ALONE} from GET request to {URL}: 405 Method Not Allowed", "unsupported"),
    (f"{RESOLVE}{ALONE} from HEAD request to {URL}: 400 Bad Request", "bad-reference"),
    # only of a manifest, a 400 can be about the image's name
    (
        f"{RESOLVE}pulling from host 127.0.0.1:5000 failed with status code [manifests v1]: 400 Bad Request",
        "bad-reference",
    ),
    (f"{BLOB}{ALONE} code http://s3.example/blob?X-Amz-Signature=0: 400 Bad Request", "other"),
    (f"{RESOLVE}{NAME}: not found", "not-found"),
    # a layer: up to 2.0, then 2.1 and later
    (f"{BLOB}{ALONE} code {URL}: 500 Internal Server Error - Server message: unknown: x", "server-error"),
    (f"{BLOB}{ALONE} from GET request to {URL}: 500 Internal Server Error\nunknown: x", "server-error"),
    (
        f"{BLOB}could not fetch content descriptor sha256:0a (application/vnd.oci.x) from remote: not found",
        "not-found",
    ),
    ("failed to read expected number of bytes: unexpected EOF", "bad-digest"),
    ("short read: expected 248 bytes but got 0: unexpected EOF", "bad-digest"),
    (
        'failed commit on ref "layer-sha256:0a": "layer-sha256:0a" failed size validation: 1 != 2: failed precondition',
        "bad-digest",
    ),
    # the token service: 1.6, then later
    (
        f"{RESOLVE}failed to authorize: failed to fetch anonymous token: {ALONE}: 401 Unauthorized",
        "unauthorized",
    ),
    (
        f"{RESOLVE}failed to authorize: failed to fetch oauth token: {ALONE} from POST request to http://h: 403 No",
        "forbidden",
    ),
    (
        f"{RESOLVE}failed to authorize: failed to fetch anonymous token: authorization server did not include a token "
        "in the response",
        "unauthorized",
    ),
    # an old schema: 1.6 and 1.7, 2.0, 2.3
    ("no signatures", "unsupported"),
    (
        f'failed to get converter for "{NAME}": Pulling Schema 1 images have been deprecated and disabled by default',
        "unsupported",
    ),
    (
        'not implemented: media type "application/vnd.docker.x+prettyjws" is no longer supported since containerd v2.1',
        "unsupported",
    ),
    # certificates: older and newer versions of Go
    (f'{RESOLVE}failed to do request: Head "{URL}": x509: certificate signed by unknown authority', "tls"),
    (
        f'{RESOLVE}failed to do request: Head "{URL}": tls: failed to verify certificate: x509: has expired',
        "tls",
    ),
    (f'{RESOLVE}unable to read CA cert "absent.pem": open absent.pem: no such file or directory', "client"),
    (f"{RESOLVE}unable to load CA cert", "client"),
    # containerd is not there: 1.6 and 1.7, 2.0, 2.3; it dies
    (
        f'failed to dial "{SOCKET}": context deadline exceeded: connection error: desc = "transport: error"',
        "client",
    ),
    (
        f'failed to dial "{SOCKET}": connection error: desc = "transport: error while dialing: permission denied"',
        "client",
    ),
    (f'connection error: desc = "transport: Error while dialing: dial unix://{SOCKET}: timeout"', "client"),
    (f"cannot access socket {SOCKET}: stat {SOCKET}: no such file or directory", "client"),
    ("failed to copy: failed to send write: EOF: unknown", "client"),
    ('rpc error: code = Unavailable desc = "transport is closing": unavailable', "client"),
    ("namespace is required: failed precondition", "client"),
    # its disk is full: the database, and in the middle of a layer
    (
        "write /dev/shm/x/root/io.containerd.metadata.v1.bolt/meta.db: no space left on device: unknown",
        "disk",
    ),
    (
        "failed to copy: failed to send write: write /dev/shm/x/root/ingest/0a/data: no space left on device: unknown",
        "disk",
    ),
    # names that the driver does not let through
    ("hostname required", "bad-reference"),
    ("object required", "bad-reference"),
    ("invalid checksum digest length", "bad-reference"),
    ('parse "dummy://app:v1": invalid port ":v1" after host', "bad-reference"),
    # addresses and headers that a server made up
    (
        f'{RESOLVE}failed to do request: Head "{URL}": failed to parse Location header "ftp://x: 403 x"',
        "bad-content",
    ),
    (
        f'{RESOLVE}invalid token auth challenge realm: parse "ftp://x": invalid port ": unknown" after host',
        "bad-content",
    ),
    (
        f'{RESOLVE}"x: 403 Forbidden" in header not a valid digest: invalid checksum digest format',
        "bad-content",
    ),
    (
        f'{BLOB}failed to do request: Get "{URL}": net/http: invalid header field value for "Accept"',
        "bad-content",
    ),
    ("something that nobody has seen yet", "other"),
]


@pytest.mark.parametrize(("words", "error_class"), WORDS)
def test_what_the_versions_of_ctr_say(words: str, error_class: str) -> None:
    failure = classify(
        Ctr, 1, f'time="2026-11-26T13:25:01Z" level=info msg="trying next host"\nctr: {words}\n'
    )
    assert failure.error_class == error_class
    assert failure.message.startswith(words.partition("\n")[0][:100])


def test_what_breaks_off_after_more_was_asked_for_was_a_lost_connection() -> None:
    asked = 'time="2026-11-26T13:25:01Z" level=debug msg="do request" request.header.range="bytes=9-" url="http://h/x"\n'
    for words in (
        "failed to read expected number of bytes",
        "short read: expected 248 bytes but got 124",
    ):
        assert classify(Ctr, 1, f"{asked}ctr: {words}: unexpected EOF\n").error_class == "reset"


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("ctr github.com/containerd/containerd 1.6.20~ds1", "1.6.20~ds1"),
        ("ctr github.com/containerd/containerd v1.7.29", "1.7.29"),
        ("ctr github.com/containerd/containerd/v2 v2.3.4", "2.3.4"),
        ("ctr", None),
        ("crane 0.22", None),
        ("ctr github.com/containerd/containerd 1.6.20\nmore", None),
    ],
)
def test_the_version_of_ctr(answer: str, version: str | None) -> None:
    assert Ctr.version_in(answer) == version


def fetched(digest: str, kind: str, *, asked: bool = True) -> str:
    """ctr's log of one manifest or layer, about as long as it is."""
    begin = 'time="2026-11-26T13:25:01Z" level=debug msg='
    mediatype = f'mediatype="application/vnd.oci.image.{kind}"'
    url = f'url="http://127.0.0.1:5000/v2/a/app/blobs/{digest}?ns=up.example%3A5000"'
    lines = [f'{begin}fetch digest="{digest}" {mediatype} size=9']
    if asked:
        fields = f'digest="{digest}" {mediatype} {"request.header.accept=x " * 12}'
        lines += [f'{begin}"do request" {fields} {url}', f'{begin}"fetch response received" {fields} {url}']
    return "".join(f"{line}\n" for line in lines)


INDEX = fetched("sha256:00", "index.v1+json")
MANIFEST = fetched("sha256:01", "manifest.v1+json")


def kept(stderr: str) -> str:
    """What the launcher keeps of it."""
    return stderr if len(stderr) < 2 * KEPT_STDERR else stderr[:KEPT_HEAD] + stderr[-KEPT_STDERR:]


@pytest.mark.parametrize("layers", [1, 60, 127])
def test_a_long_log_is_judged_right(layers: int) -> None:
    """Of one of many layers the middle is lost, and with it requests; such a pull is no pull of nothing."""
    blobs = "".join(fetched(f"sha256:{k:064x}", "layer.v1.tar+gzip") for k in range(layers))
    for stderr in (MANIFEST + blobs, INDEX + MANIFEST + blobs):
        assert Ctr.succeeded(kept(stderr))
    assert (len(blobs) > 2 * KEPT_STDERR) == (layers == 127)


def test_an_index_alone_is_no_pull() -> None:
    assert not Ctr.succeeded(INDEX)
    assert Ctr.read(INDEX)[1].value == "no-platform"
    assert Ctr.succeeded(INDEX + MANIFEST)
    assert Ctr.succeeded("")
    assert Ctr.succeeded(INDEX.replace("size=9", f"size=9 x={'y' * 2 * KEPT_STDERR}"))


def test_a_fallback_to_the_upstream_is_no_pull() -> None:
    warned = 'time="2026-11-26T13:25:01Z" level=error msg="failed to decode hosts.toml" error="x"\n'
    assert not Ctr.succeeded(warned + MANIFEST)
    assert classify(Ctr, 1, warned + MANIFEST).error_class == "client"
    assert classify(Ctr, 1, f"{warned}ctr: {NAME}: not found\n").error_class == "client"


@pytest.mark.parametrize(
    "text", ["plain", 'a "quoted" \\ path', "tab\tand\nline", "delete \x7f", "bell \a", "\u00fc \U0001f600"]
)
def test_every_value_can_stand_in_hosts_toml(text: str) -> None:
    """ctr asks the upstream if it cannot read the file."""
    tomllib = pytest.importorskip("tomllib")
    assert tomllib.loads(f"x = {_toml(text)}") == {"x": text}


@pytest.mark.parametrize("password", ["", "two\nlines", "x" * 4001, "a\x03b", "a\x7fb"])
def test_a_password_that_cannot_be_typed_is_refused_in_one_line(password: str, tmp_path: Path) -> None:
    def orders(login: Login) -> Orders:
        return Orders(
            platform="linux/amd64", host="up:5000", server_url="https://cache:5000", verify=True,
            folder=lambda name: tmp_path / name, tls=Tls(), logins=Logins(login), elsewhere=lambda place: place,
            environment={}, caution=lambda _: None, containerd_socket="/absent/c.sock",
        )  # fmt: skip

    login = Login(username="me", password=password, path=tmp_path / "config.json")
    with pytest.raises(RunError) as refused:
        Ctr.set_up(Executable("/bin/false", "1.6"), orders(login))
    assert str(refused.value) == (
        f"ctr reads a password as one line of at most 4000 bytes; {tmp_path}/config.json has another one for "
        "cache:5000: use another client"
    )
    with pytest.raises(RunError, match=r"containerd does not answer at /absent/c\.sock"):
        Ctr.set_up(Executable("/bin/false", "1.6"), orders(Login(username="me", password="x" * 4000)))
