"""Records what the real clients say about every failure: `python -m tests.record_failures` writes
`RECORDING`.

Run it when a client has a new version. The tests hold the class that each case must have; the recording holds
only what was seen. Ports, times and temporary folders are replaced, so that a recording changes only where a
client has.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.doubles.faulty import CERTIFICATES, FaultyRegistry
from tests.doubles.good_image import CONFIG_DIGEST
from tests.support.ports import refused_port

RECORDING: Final = Path(__file__).parent / "recorded" / "failures.json"
LIMIT_SECONDS: Final = 12.0
CLIENTS: Final = ("crane", "skopeo")

PULL_FAULTS: Final = (
    "token-401",
    "token-401-json",
    "token-403",
    "token-500",
    "ping-403",
    "ping-404",
    "ping-429-json",
    "ping-500",
    "ping-503-json",
    "ping-silent",
    "ping-redirect",
    "ping-reset",
    "ping-close",
    "ping-garbage",
    "ping-500-hostile",
    "manifest-400-json",
    "manifest-401",
    "manifest-401-json",
    "manifest-401-text",
    "manifest-403",
    "manifest-403-json",
    "manifest-403-html",
    "manifest-404",
    "manifest-404-json",
    "manifest-404-html",
    "manifest-404-two",
    "manifest-405",
    "manifest-405-json",
    "manifest-408",
    "manifest-408-json",
    "manifest-429",
    "manifest-429-json",
    "manifest-429-after",
    "manifest-429-json-after",
    "manifest-500",
    "manifest-500-json",
    "manifest-500-html",
    "manifest-500-two",
    "manifest-501",
    "manifest-502",
    "manifest-502-html",
    "manifest-503",
    "manifest-503-json",
    "manifest-504",
    "manifest-504-text",
    "manifest-503-x1",
    "manifest-503-x2",
    "manifest-503-json-x2",
    "manifest-429-after-x2",
    "manifest-503-hostile-x2",
    "manifest-silent",
    "manifest-stalled",
    "manifest-redirect",
    "manifest-reset",
    "manifest-close",
    "manifest-garbage",
    "manifest-truncated",
    "manifest-midreset",
    "manifest-killed",
    "manifest-died",
    "manifest-empty",
    "manifest-html",
    "manifest-text",
    "manifest-halfjson",
    "manifest-strange",
    "manifest-noplatform",
    "manifest-schemaone",
    "config-404",
    "config-500-json",
    "config-truncated",
    "config-killed",
    "config-corrupted",
    "config-html",
    "config-empty",
    "config-reset",
    "blob-401",
    "blob-401-json",
    "blob-403",
    "blob-403-json",
    "blob-404",
    "blob-404-json",
    "blob-408",
    "blob-429",
    "blob-429-json",
    "blob-429-after",
    "blob-500",
    "blob-500-json",
    "blob-502-html",
    "blob-503",
    "blob-503-json",
    "blob-504",
    "blob-503-x2",
    "blob-silent",
    "blob-stalled",
    "blob-redirect",
    "blob-reset",
    "blob-close",
    "blob-garbage",
    "blob-truncated",
    "blob-midreset",
    "blob-killed",
    "blob-died",
    "blob-corrupted",
    "blob-short",
    "blob-html",
    "blob-empty",
    "manifest-403-hostile",
    "manifest-403-hostilejson",
    "manifest-404-hostile",
    "manifest-404-hostilejson",
    "manifest-429-hostilejson-after",
    "manifest-500-hostile",
    "manifest-500-hostilejson",
    "blob-404-hostile",
    "blob-404-hostilejson",
    "blob-500-hostile",
    "blob-500-hostilejson",
)

DELETE_FAULTS: Final = (
    "ping-500",
    "ping-silent",
    "delete-400-json",
    "delete-401",
    "delete-401-json",
    "delete-403",
    "delete-403-json",
    "delete-404",
    "delete-404-json",
    "delete-405",
    "delete-405-json",
    "delete-429",
    "delete-429-json",
    "delete-429-after",
    "delete-500",
    "delete-500-json",
    "delete-500-html",
    "delete-503",
    "delete-503-x2",
    "delete-silent",
    "delete-reset",
    "delete-close",
    "delete-500-hostile",
    "delete-500-hostilejson",
    "delete-405-hostile",
    "manifest-401",
    "manifest-404",
    "manifest-404-json",
    "manifest-500",
)

DIGEST_FAULTS: Final = (
    "manifest-401-json",
    "manifest-404",
    "manifest-404-json",
    "manifest-429",
    "manifest-500",
    "manifest-500-json",
    "manifest-503",
    "manifest-500-hostile",
    "manifest-reset",
)


@dataclass(frozen=True)
class Launch:
    """A client's command line, and what is special about its surroundings."""

    client: str
    case: str
    operation: str
    argv: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    interrupt: int = 0
    """The signal that it gets after a second."""
    server: str = ""
    """The `host:port` of the server, where the command line does not name it."""


@dataclass(frozen=True)
class Record:
    """What came of a launch."""

    client: str
    version: str
    case: str
    operation: str
    returncode: int
    timed_out: bool
    stderr: str

    @property
    def key(self) -> str:
        return f"{self.client} {self.operation} {self.case}"


def read_recording(path: Path = RECORDING) -> dict[str, Record]:
    """The records by key, "crane pull manifest-404"."""
    records = [Record(**entry) for entry in json.loads(path.read_text("utf-8"))]
    return {record.key: record for record in records}


def program(client: str) -> str | None:
    """The client beside the interpreter, where a virtual environment has it, or on PATH."""
    beside = Path(sys.executable).parent / client
    return str(beside) if beside.exists() else shutil.which(client)


def argv(
    client: str,
    operation: str,
    reference: str,
    temporary: str,
    *,
    target: str = "/dev/null",
    tls: bool = False,
) -> list[str]:
    """How the driver asks for it; `tls` makes skopeo insist on https."""
    name, verify = program(client) or client, "true" if tls else "false"
    if client == "crane":
        tail = ["--platform", "linux/amd64", reference, target] if operation == "pull" else [reference]
        return [name, operation, *tail]
    head = [name, "--insecure-policy", "--override-arch", "amd64", "--tmpdir", temporary]
    if operation == "delete":
        return [*head, "delete", f"--tls-verify={verify}", f"docker://{reference}"]
    return [
        *head,
        "copy",
        f"--src-tls-verify={verify}",
        f"docker://{reference}",
        f"docker-archive:{target}:x:y",
    ]


def _fault_launches(registry: FaultyRegistry, temporary: str) -> Iterator[Launch]:
    table = [
        ("pull", CLIENTS, PULL_FAULTS),
        ("delete", CLIENTS, DELETE_FAULTS),
        ("digest", ("crane",), DIGEST_FAULTS),
    ]
    for operation, clients, faults in table:
        for client in clients:
            for fault in faults:
                reference = registry.reference(fault, f"{client}-{operation}:v1")
                yield Launch(client, fault, operation, argv(client, operation, reference, temporary))


def _own_launches(registry: FaultyRegistry, refused: str, temporary: str) -> Iterator[Launch]:
    """Failures that are not a registry's fault, or not only."""
    good, absent = f"{registry.address}/good/app:v1", str(Path(temporary) / "absent" / "file")
    references = {
        "refused": f"{refused}/x/y:z",
        "dns": "no-such-host.invalid:5000/x:y",
        "uppercase": f"{registry.address}/UPPER/app:v1",
        "port-in-path": f"{registry.address}/up.example:5000/app:v1",
        "wrong-digest": f"{registry.address}/good/app@{CONFIG_DIGEST}",
    }
    for client in CLIENTS:
        for case, reference in references.items():
            yield Launch(client, case, "pull", argv(client, "pull", reference, temporary))
        for case in ("refused", "dns", "uppercase"):
            yield Launch(client, case, "delete", argv(client, "delete", references[case], temporary))
        for case in CERTIFICATES:
            secure = argv(client, "pull", registry.reference(case), temporary, tls=True)
            yield Launch(client, case, "pull", secure)
            yield Launch(
                client, f"{case}-trusted", "pull", secure, {"SSL_CERT_FILE": str(CERTIFICATES[case])}
            )
        for case, target in (("disk-full", "/dev/full"), ("no-folder", absent)):
            yield Launch(client, case, "pull", argv(client, "pull", good, temporary, target=target))
        for case, number in (("sigint", signal.SIGINT), ("sigterm", signal.SIGTERM)):
            silent = argv(client, "pull", registry.reference("manifest-silent"), temporary)
            yield Launch(client, case, "pull", silent, interrupt=number)
        yield from _misuse(client, good, temporary)
    yield Launch("skopeo", "http-for-https", "pull", argv("skopeo", "pull", good, temporary, tls=True))
    no_policy = [
        program("skopeo") or "skopeo",
        "--policy",
        absent,
        "copy",
        f"docker://{good}",
        "docker-archive:/dev/null:x:y",
    ]
    yield Launch("skopeo", "no-policy", "pull", no_policy)
    yield Launch("skopeo", "no-tmpdir", "pull", argv("skopeo", "pull", good, absent))


def _misuse(client: str, good: str, temporary: str) -> Iterator[Launch]:
    name = program(client) or client
    verb = "pull" if client == "crane" else "copy"
    yield Launch(client, "unknown-flag", "pull", [name, verb, "--no-such-flag", good])
    yield Launch(client, "unknown-command", "pull", [name, "no-such-command"])
    host = good.partition("/")[0]
    configs = {"broken-config": "{", "no-helper": json.dumps({"credHelpers": {host: "no-such-helper"}})}
    for case, text in configs.items():
        folder = Path(temporary) / f"{client}-{case}"
        folder.mkdir()
        (folder / "config.json").write_text(text)
        environment = {"DOCKER_CONFIG": str(folder), "REGISTRY_AUTH_FILE": str(folder / "config.json")}
        yield Launch(client, case, "pull", argv(client, "pull", good, temporary), environment)


def run(launch: Launch, home: str, limit: float = LIMIT_SECONDS) -> tuple[int, bool, str]:
    """Exit status, whether it was killed at the limit, and stderr."""
    environment = {"PATH": os.environ["PATH"], "HOME": home, "DOCKER_CONFIG": home, **launch.environment}
    process = subprocess.Popen(
        launch.argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, stderr = process.communicate(timeout=1 if launch.interrupt else limit)
        return process.returncode, False, stderr.decode("utf-8", "replace")
    except subprocess.TimeoutExpired:
        process.send_signal(launch.interrupt or signal.SIGKILL)
        _, stderr = process.communicate()
        return process.returncode, not launch.interrupt, stderr.decode("utf-8", "replace")


# --- ctr: a containerd of its own, a namespace and a hosts.toml for each launch

UPSTREAM: Final = "up.example:5000"
"""What ctr believes it pulls from; hosts.toml names the faulty registry in its stead."""

_CONTAINERD: Final = """version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.overlayfs", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/c.sock"
[ttrpc]
  address = "{folder}/c.sock.ttrpc"
[plugins."io.containerd.metadata.v1.bolt"]
  content_sharing_policy = "isolated"
"""


@contextlib.contextmanager
def containerd(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its socket, and the daemon."""
    folder.mkdir()
    (folder / "config.toml").write_text(_CONTAINERD.format(folder=folder))
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [program("containerd") or "containerd", "--config", str(folder / "config.toml")],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    socket = str(folder / "c.sock")
    try:
        while subprocess.run(
            [program("ctr") or "ctr", "-a", socket, "version"], capture_output=True
        ).returncode:
            if daemon.poll() is not None:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.02)
        yield socket, daemon
    finally:
        daemon.terminate()
        daemon.wait()


@dataclass
class CtrLab:
    """Makes the command lines; `mirrors` numbers hosts folders and namespaces."""

    socket: str
    temporary: Path
    debug: bool
    mirrors: int = 0

    def hosts(self, server: str, *, text: str | None = None, folder_name: str = UPSTREAM) -> str:
        """A hosts folder that names `server` (a URL) as the only place to pull from."""
        self.mirrors += 1
        folder = self.temporary / f"hosts{self.mirrors}"
        (folder / folder_name).mkdir(parents=True)
        body = f'server = "{server}"\n[host]\n' if text is None else text
        (folder / folder_name / "hosts.toml").write_text(body)
        return str(folder)

    def argv(
        self, hosts: str, name: str, *more: str, socket: str = "", upstream: str = UPSTREAM
    ) -> list[str]:
        head = [
            program("ctr") or "ctr",
            *(["--debug"] if self.debug else []),
            "--address",
            socket or self.socket,
        ]
        return [
            *head,
            "--namespace",
            f"n{self.mirrors}",
            "content",
            "fetch",
            "--hosts-dir",
            hosts,
            "--platform",
            "linux/amd64",
            *more,
            f"{upstream}/{name}" if upstream else name,
        ]


def _ctr_launches(registry: FaultyRegistry, refused: str, lab: CtrLab) -> Iterator[Launch]:
    def pull(case: str, server: str, name: str, *more: str, **others: object) -> Launch:
        interrupt = others.pop("interrupt", 0)
        environment = others.pop("environment", {})
        scheme = others.pop("scheme", "http")
        text = others.pop("text", None)
        hosts = lab.hosts(f"{scheme}://{server}", text=text)  # type: ignore[arg-type]
        words = lab.argv(hosts, name, *more, **others)  # type: ignore[arg-type]
        return Launch("ctr", case, "pull", words, environment, interrupt, server)  # type: ignore[arg-type]

    for fault in PULL_FAULTS:
        server, _, name = registry.reference(fault, "ctr-pull:v1").partition("/")
        yield pull(fault, server, name)
    for fault in ("token-401", "token-401-json", "token-403", "token-500"):
        server, _, name = registry.reference(fault, "ctr-pull:v1").partition("/")
        yield pull(f"{fault}-user", server, name, "--user", "tester:secret")
    for fault in ("manifest-401", "manifest-401-json"):
        server, _, name = registry.reference(fault, "ctr-pull:v1").partition("/")
        yield pull(f"{fault}-user", server, name, "--user", "tester:secret")
    here = registry.address
    yield pull("good", here, "good/app:v1")
    yield pull("refused", refused, "x/y:z")
    yield pull("dns", "no-such-host.invalid:5000", "x/y:z")
    yield pull("uppercase", here, "UPPER/app:v1")
    yield pull("port-in-path", here, f"{UPSTREAM}/app:v1")
    yield pull("no-tag", here, "good/app")
    yield pull("strange-name", here, "good//app:v1")
    yield pull("empty-name", here, "", upstream="")
    yield pull("no-host", here, "app:v1", upstream="")
    yield pull("wrong-digest", here, f"good/app@{CONFIG_DIGEST}")
    yield pull("bad-digest-name", here, "good/app@sha256:abc")
    for case, path in CERTIFICATES.items():
        server, _, name = registry.reference(case).partition("/")
        yield pull(case, server, name, scheme="https")
        trust = f'server = "https://{server}"\nca = "{path}"\n[host]\n'
        yield pull(f"{case}-trusted", server, name, text=trust)
        yield pull(
            f"{case}-environment", server, name, scheme="https", environment={"SSL_CERT_FILE": str(path)}
        )
        skip = f'server = "https://{server}"\nskip_verify = true\n[host]\n'
        yield pull(f"{case}-skip", server, name, text=skip)
        yield pull(f"{case}-http", server, name)
    yield pull("http-for-https", here, "good/app:v1", scheme="https")
    for case, number in (("sigint", signal.SIGINT), ("sigterm", signal.SIGTERM), ("sigkill", signal.SIGKILL)):
        yield pull(case, here, "manifest-silent/app:v1", interrupt=number)
        yield pull(f"{case}-blob", here, "blob-stalled/app:v1", interrupt=number)
    yield pull("unknown-flag", here, "good/app:v1", "--no-such-flag")
    yield Launch("ctr", "unknown-command", "pull", [program("ctr") or "ctr", "no-such-command"])
    yield pull("broken-config", here, "good/app:v1", text="server = ")
    yield pull("no-host-table", here, "good/app:v1", text=f'server = "http://{here}"\n')
    yield pull(
        "unknown-capability",
        here,
        "good/app:v1",
        text=f'server = "http://{here}"\ncapabilities = ["x"]\n[host]\n',
    )
    yield pull(
        "no-ca", here, "good/app:v1", text='server = "https://127.0.0.1:1"\nca = "absent.pem"\n[host]\n'
    )
    yield pull(
        "bad-ca", here, "good/app:v1", text='server = "https://127.0.0.1:1"\nca = "hosts.toml"\n[host]\n'
    )
    yield pull(
        "no-key",
        here,
        "good/app:v1",
        text='server = "https://127.0.0.1:1"\nclient = [["a.pem", "b.key"]]\n[host]\n',
    )
    yield pull("no-entry", here, "good/app:v1", upstream="other.invalid:5000")
    yield pull("bad-platform", here, "good/app:v1", "--platform", "nonsense/x/y/z")
    yield pull("no-socket", here, "good/app:v1", socket=str(lab.temporary / "absent.sock"))
    yield pull("bad-namespace", here, "good/app:v1", "--label", "x")
    words = lab.argv(lab.hosts(f"http://{here}"), "good/app:v1")
    words[words.index("--namespace") + 1] = "bad/name"
    yield Launch("ctr", "namespace-name", "pull", words, server=here)
    words = lab.argv(lab.hosts(f"http://{here}"), "good/app:v1")
    words[words.index("--namespace") + 1] = ""
    yield Launch("ctr", "namespace-empty", "pull", words, server=here)
    if os.geteuid() == 0:
        words = lab.argv(lab.hosts(f"http://{here}"), "good/app:v1")
        yield Launch(
            "ctr",
            "socket-permission",
            "pull",
            ["setpriv", "--reuid=65534", "--clear-groups", *words],
            server=here,
        )


def record_ctr(workers: int, *, debug: bool) -> list[Record]:
    """All cases of ctr."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        FaultyRegistry() as registry,
        refused_port() as refused,
        containerd(Path(temporary) / "containerd") as (socket, _),
    ):
        lab = CtrLab(socket, Path(temporary), debug)
        known = version("ctr")

        def one(launch: Launch) -> Record:
            returncode, timed_out, stderr = run(launch, temporary)
            text = _normalised(stderr, launch, temporary)
            return Record("ctr", known, launch.case, launch.operation, returncode, timed_out, text)

        launches = list(_ctr_launches(registry, refused, lab))
        with ThreadPoolExecutor(workers) as pool:
            return sorted(pool.map(one, launches), key=lambda entry: entry.key)


def version(client: str) -> str:
    words = [program(client) or client, "version" if client == "crane" else "--version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1]


def _normalised(text: str, launch: Launch, temporary: str) -> str:
    """The server's port becomes 5000, every other 40000, times and folders a constant."""
    named = re.search(r"127\.0\.0\.1:(\d+)", launch.server or " ".join(launch.argv))
    if named:
        text = text.replace(named[0], "127.0.0.1:5000")
    if launch.client == "ctr":
        text = re.sub(r'(?<=response\.header\.date=)"[^"]*"', '"Thu, 01 Jan 2026 00:00:00 GMT"', text)
    text = re.sub(r"127\.0\.0\.1:(?!5000\b)\d{4,}", "127.0.0.1:40000", text)
    text = re.sub(r"(?<= on )\S+:53(?=: )", "127.0.0.53:53", text)
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "2026/01/01 00:00:00", text, flags=re.MULTILINE)
    text = re.sub(r'^time="[^"]*"', 'time="2026-01-01T00:00:00Z"', text, flags=re.MULTILINE)
    text = text.replace(temporary, "/tmp/recording")
    return re.sub(r"(?<=stream-blob)\d+", "0", text)


def record(workers: int) -> list[Record]:
    """All cases, `workers` at a time."""
    versions = {client: version(client) for client in CLIENTS}
    with tempfile.TemporaryDirectory() as temporary, FaultyRegistry() as registry, refused_port() as refused:

        def one(launch: Launch) -> Record:
            returncode, timed_out, stderr = run(launch, temporary)
            text = _normalised(stderr, launch, temporary)
            client = launch.client
            return Record(
                client, versions[client], launch.case, launch.operation, returncode, timed_out, text
            )

        launches = [*_fault_launches(registry, temporary), *_own_launches(registry, refused, temporary)]
        with ThreadPoolExecutor(workers) as pool:
            return sorted(pool.map(one, launches), key=lambda entry: entry.key)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.record_failures", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORDING)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--ctr", choices=("debug", "plain"), help="record ctr alone")
    options = parser.parse_args()
    debug = options.ctr == "debug"
    records = record_ctr(options.workers, debug=debug) if options.ctr else record(options.workers)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps([asdict(entry) for entry in records], indent=1) + "\n", "utf-8")
    print(f"{len(records)} failures written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
