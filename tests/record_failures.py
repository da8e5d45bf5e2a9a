"""Records what crane and skopeo say about every failure: `python -m tests.record_failures` writes `RECORDINGS`.

`tests.record_ctr` does the same for ctr, which needs a containerd. Run it when a client has a new version. The tests
hold the class that each case must have; the recording holds only what was seen. Ports, times and temporary folders are
replaced, so that a recording changes only where a client has.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from tests.doubles.faulty import CERTIFICATES, FaultyRegistry
from tests.doubles.good_image import CONFIG_DIGEST
from tests.support.mounts import with_mounts
from tests.support.ports import refused_port

RECORDINGS: Final = Path(__file__).parent / "recorded"
"""A file for each client."""
LIMIT_SECONDS: Final = 12.0
CLIENTS: Final = ("crane", "skopeo")
_NUMBERS: Final = itertools.count(1)
"""For the folders that skopeo writes to."""

PULL_FAULTS: Final = (
    "token-401",
    "token-401-json",
    "token-401-foreign",
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
    "manifest-404-default",
    "manifest-404-detailed",
    "manifest-404-bare",
    "manifest-404-foreign",
    "manifest-404-nocode",
    "manifest-404-nothing",
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
    "manifest-412-foreign",
    "manifest-429-foreign-after",
    "manifest-503-foreign",
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
    "manifest-chart",
    "manifest-artifact",
    "manifest-oldartifact",
    "manifest-nested",
    "manifest-encrypted",
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


def read_recording(folder: Path = RECORDINGS) -> dict[str, Record]:
    """The records of all clients by key, "crane pull manifest-404"."""
    files = sorted(folder.glob("*.json"))
    records = [Record(**entry) for path in files for entry in json.loads(path.read_text("utf-8"))]
    return {record.key: record for record in records}


def write_recording(folder: Path, client: str, records: Iterable[Record]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries = [asdict(entry) for entry in sorted(records, key=lambda entry: entry.key)]
    (folder / f"{client}.json").write_text(json.dumps(entries, indent=1) + "\n", "utf-8")
    print(f"{len(entries)} failures written to {folder / client}.json")


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
    target: str = "",
    tls: bool = False,
) -> list[str]:
    """How the driver asks for it; `tls` makes skopeo insist on https. `target` is where the image goes."""
    name, verify = program(client) or client, "true" if tls else "false"
    if client == "crane":
        tail = (
            ["--platform", "linux/amd64", reference, target or "/dev/null"]
            if operation == "pull"
            else [reference]
        )
        return [name, operation, *tail]
    head = [name, "--insecure-policy", "--override-arch", "amd64", "--tmpdir", temporary]
    if operation == "delete":
        return [*head, "delete", f"--tls-verify={verify}", f"docker://{reference}"]
    return [
        *head,
        "copy",
        "--remove-signatures",
        f"--src-tls-verify={verify}",
        f"docker://{reference}",
        f"dir:{target or f'{temporary}/images-{next(_NUMBERS)}'}",
    ]


def on_a_full_disk(client: str, reference: str, temporary: str) -> list[str]:
    """A pull that finds no space: crane at a device that is full, skopeo at a file system that is too small."""
    if client == "crane":
        return argv(client, "pull", reference, temporary, target="/dev/full")
    folder = Path(temporary) / "small"
    folder.mkdir(exist_ok=True)
    words = argv(client, "pull", reference, temporary, target=f"{folder}/images")
    return with_mounts([f"mount -t tmpfs -o size=16k none {folder}"], words)


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
        yield Launch(client, "disk-full", "pull", on_a_full_disk(client, good, temporary))
        yield Launch(client, "no-folder", "pull", argv(client, "pull", good, temporary, target=absent))
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
        f"dir:{temporary}/images-0",
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


def version(client: str) -> str:
    words = [program(client) or client, "version" if client == "crane" else "--version"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[-1]


def normalised(text: str, server: str, temporary: str) -> str:
    """The server's port becomes 5000, every other 40000, times and folders a constant."""
    if server:
        text = text.replace(server, "127.0.0.1:5000")
    text = re.sub(r"127\.0\.0\.1:(?!5000\b)\d{4,}", "127.0.0.1:40000", text)
    text = re.sub(r"(?<= on )\S+:53(?=: )", "127.0.0.53:53", text)
    text = re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", "2026/01/01 00:00:00", text, flags=re.MULTILINE)
    text = re.sub(r'^time="[^"]*"', 'time="2026-01-01T00:00:00Z"', text, flags=re.MULTILINE)
    text = text.replace(temporary, "/tmp/recording")
    return re.sub(r"(images-|put-blob)\d+", r"\g<1>0", text)


def record(workers: int) -> list[Record]:
    """All cases, `workers` at a time."""
    versions = {client: version(client) for client in CLIENTS}
    with tempfile.TemporaryDirectory() as temporary, FaultyRegistry() as registry, refused_port() as refused:

        def one(launch: Launch) -> Record:
            returncode, timed_out, stderr = run(launch, temporary)
            server = re.search(r"127\.0\.0\.1:\d+", " ".join(launch.argv))
            text = normalised(stderr, server[0] if server else "", temporary)
            client = launch.client
            return Record(
                client, versions[client], launch.case, launch.operation, returncode, timed_out, text
            )

        launches = [*_fault_launches(registry, temporary), *_own_launches(registry, refused, temporary)]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(one, launches))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.record_failures", description=__doc__)
    parser.add_argument("--output", type=Path, default=RECORDINGS, metavar="FOLDER")
    parser.add_argument("--workers", type=int, default=12)
    options = parser.parse_args()
    records = record(options.workers)
    for client in CLIENTS:
        write_recording(options.output, client, (entry for entry in records if entry.client == client))
    return 0


if __name__ == "__main__":
    sys.exit(main())
