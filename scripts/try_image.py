"""Builds the container image without an image registry, and tries what it promises.

    .venv/bin/python scripts/try_image.py [--built] [-- OPTIONS OF podman build]

It needs root, podman, runc, mmdebstrap, openssl and Go. Base images that are not here are made of Debian's packages,
with the Go of this machine. Everything else is what the Dockerfile says. The build takes minutes. `--built` tries the
image of the last build. All loads are between containers that share a network namespace, in which there is loopback
alone.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, RLIMIT_NPROC, getrlimit
from tempfile import TemporaryDirectory
from typing import Any

import yaml


def ulimits() -> Iterator[str]:
    """The limits of this process: podman would raise them, which takes a right that root in a container may lack."""
    for name, number, most in (("nofile", RLIMIT_NOFILE, 1 << 20), ("nproc", RLIMIT_NPROC, 1 << 15)):
        hard = getrlimit(number)[1]
        limit = most if hard == RLIM_INFINITY else min(hard, most)
        yield f"--ulimit={name}={limit}:{limit}"


ROOT = Path(__file__).resolve().parents[1]
# runc can do with every version of cgroups.
PODMAN = ("podman", "--runtime=runc")
BUILD = ("build", "--pull=never", "--network=host", "--isolation=chroot")
IMAGE = "localhost/ocidriver:tried"
CACHE, UPSTREAM = "127.0.0.1:8080", "127.0.0.1:5000"
# As the manifests have it: no right, nothing to write to but /tmp.
RESTRICTED = (
    "--read-only", "--read-only-tmpfs=false", "--cap-drop=all", "--security-opt=no-new-privileges", *ulimits(),
)  # fmt: skip
TMP = "--tmpfs=/tmp:rw,mode=1777"
SECONDS = 120.0
ARGUMENTS = dict(re.findall(r"^ARG (\w+)=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))


def podman(*words: str, fails: bool = False, stdin: str = "") -> str:
    """Runs podman, and returns its stdout. Ends the script if it fails, unless it may."""
    done = subprocess.run([*PODMAN, *words], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0 and not fails:
        sys.exit(f"podman {' '.join(words)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def make_bases(folder: Path, options: Sequence[str]) -> None:
    """Makes the two images that the Dockerfile begins with, under their names."""
    debian = f"docker.io/library/debian:{ARGUMENTS['DEBIAN']}-slim"
    golang = f"docker.io/library/golang:{ARGUMENTS['GO']}-{ARGUMENTS['DEBIAN']}"
    here = podman("images", "--format={{.Repository}}:{{.Tag}}").split()
    if {debian, golang} <= set(here):
        return
    archive = folder / "debian.tar"
    subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", ARGUMENTS["DEBIAN"], archive], check=True)
    podman("import", "--quiet", str(archive), debian)
    go = subprocess.run(
        ["go", "env", "GOROOT", "GOVERSION"], capture_output=True, text=True, check=True
    ).stdout.split()
    lines = (
        f"FROM {debian}",
        "RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates",
        "COPY . /usr/local/go",
        "ENV PATH=/usr/local/go/bin:/usr/bin:/bin",
    )
    (folder / "Dockerfile").write_text("\n".join(lines))
    podman(
        *BUILD, *options, "-t", golang,
        "-f", str(folder / "Dockerfile"), go[0],
    )  # fmt: skip
    tell(f"base images: Debian {ARGUMENTS['DEBIAN']} from its packages, and {go[1]} on it")


def build(options: Sequence[str]) -> None:
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        make_bases(Path(folder), options)
    based = time.monotonic()
    podman(*BUILD, *options, "-t", IMAGE, str(ROOT))
    size = int(podman("image", "inspect", "--format={{.Size}}", IMAGE))
    tell(f"built in {based - started:.0f} + {time.monotonic() - based:.0f} s, {size / 1e6:.0f} MB")


def tell(text: str) -> None:
    print(f"try_image: {text}", flush=True)


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"not within {SECONDS:.0f} s: {what}")
        time.sleep(0.05)


# --- containers ----------------------------------------------------------------------------------------------


class Container:
    """A container that runs in the background, restricted as in the manifests."""

    def __init__(self, name: str, *words: str, options: Sequence[str] = ()) -> None:
        self.name = name
        podman("run", "-d", f"--name={name}", *RESTRICTED, *options, IMAGE, *words)

    def pid(self) -> int:
        """Its first process, as this machine sees it."""
        return int(podman("inspect", "--format={{.State.Pid}}", self.name))

    def log(self) -> tuple[str, str]:
        """What it has written so far to stdout and stderr."""
        done = subprocess.run([*PODMAN, "logs", self.name], capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    def signal(self, name: str) -> None:
        podman("kill", f"--signal={name}", self.name)

    def wait(self) -> int:
        """Waits for its end, and returns its exit status."""
        wait_until(
            lambda: podman("inspect", "--format={{.State.Status}}", self.name).strip() == "exited",
            f"the end of {self.name}",
        )
        return int(podman("inspect", "--format={{.State.ExitCode}}", self.name))

    def remove(self) -> None:
        podman("rm", "--force", "--time=0", self.name, fails=True)


def processes(first: int) -> list[tuple[str, str]]:
    """The state and name of each process in the PID namespace of this one."""
    space = Path(f"/proc/{first}/ns/pid").readlink()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "ns" / "pid").readlink() == space:
                name, _, rest = (path / "stat").read_text().partition("(")[2].rpartition(")")
                found.append((rest.split()[0], name))
        except OSError:
            continue
    return found


@contextmanager
def containers() -> Iterator[Callable[..., Container]]:
    """Starts containers, and removes them all at the end. If the script ends early, their logs are shown."""
    with ExitStack() as stack:
        started: list[Container] = []

        def start(name: str, *words: str, options: Sequence[str] = ()) -> Container:
            container = Container(f"ocidriver-try-{name}", *words, options=options)
            stack.callback(container.remove)
            started.append(container)
            return container

        try:
            yield start
        except SystemExit:
            for container in started:
                print(f"--- {container.name}\n{''.join(container.log())}", file=sys.stderr)
            raise


def expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        sys.exit(f"{what}: {seen!r} instead of {wanted!r}")
    tell(f"ok: {what}")


def summary_in(stdout: str) -> dict[str, Any]:
    """The summary in a log, found as the page on Kubernetes finds it."""
    text = subprocess.run(
        ["sed", "-n", "/^{/,/^}/p"], input=stdout, capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, Any] = json.loads(text)
    return found


# --- what it promises ----------------------------------------------------------------------------------------


def in_a_shell(text: str) -> str:
    return podman("run", "--rm", "--network=none", *RESTRICTED, TMP, IMAGE, "sh", "-c", text)


def try_what_is_in_it() -> None:
    expect("the user is not root", in_a_shell("id -u").strip(), "65532")
    expect(
        "nothing but /tmp can be written", in_a_shell("touch /x /results/x 2>&1 | wc -l; touch /tmp/x"), "2\n"
    )
    for tool in ("ocidriver --version", "crane version", "skopeo --version", "dask --version"):
        tell(f"{tool}: {in_a_shell(tool).strip()}")
    found = in_a_shell("grep -c ld-linux /usr/local/bin/crane; python3 -c 'import sys; print(sys.version)'")
    expect("crane is static", found.splitlines()[0], "0")


def arguments(manifest: str, *first: str) -> list[str]:
    """The words of the container in a manifest that begins with these words."""
    for document in yaml.safe_load_all((ROOT / "contrib" / "kubernetes" / manifest).read_text()):
        if document["kind"] == "Job":
            spec = document["spec"]["template"]["spec"]
            for container in (*spec.get("initContainers", []), *spec["containers"]):
                words: list[str] = container["args"]
                if tuple(words[: len(first)]) == first:
                    return words
    sys.exit(f"{manifest}: no container with {' '.join(first)}")


def replaced(words: Sequence[str], *options: str) -> list[str]:
    """The words with these options in place of their own."""
    names = {option.partition("=")[0] for option in options}
    return [*(word for word in words if word.partition("=")[0] not in names), *options]


def load(manifest: str, *options: str) -> list[str]:
    """The load test of a manifest, with the servers of the lab and these options."""
    servers = (f"--pullthrough-url={CACHE}", f"--registry-url={UPSTREAM}")
    return replaced(arguments(manifest, "ocidriver"), *servers, *options)


def start_lab(start: Callable[..., Container]) -> Sequence[str]:
    """Starts the lab in a container, and returns the option that puts another one beside it."""
    words = ("--groups=3", "--images=4", "--layers=2", "--cache-port=8080", "--upstream-port=5000")
    lab = start("lab", "ocidriver", "lab", *words, options=["--network=none", TMP])
    wait_until(lambda: "--pullthrough-url" in "".join(lab.log()), "the lab's start")
    return [f"--network=container:{lab.name}"]


def wait_for_lines(run: Container, count: int) -> None:
    """Waits for so many lines of progress."""
    wait_until(lambda: run.log()[1].count("\n") >= count, f"progress of {run.name}")


def try_one_host(start: Callable[..., Container]) -> None:
    beside = start_lab(start)
    for client in ("crane", "skopeo"):
        words = load(
            "one-host.yaml", "--workers=3", "--passes=2", "--iteration-seconds=0.2", f"--client={client}"
        )
        run = start(client, *words, options=[*beside, TMP])
        expect(f"a run with {client}: exit status", run.wait(), 0)
        summary = summary_in(run.log()[0])
        expect(f"a run with {client}: pulled and failed", (summary["pulled"], summary["failed"]), (24, 0))


def try_to_stop(start: Callable[..., Container]) -> None:
    """By the entry point of the image, and with ocidriver itself as the first process."""
    beside = start_lab(start)
    for name, entry in (("stop", []), ("stop-itself", ["--entrypoint=ocidriver"])):
        with TemporaryDirectory() as folder:
            Path(folder).chmod(0o1777)
            options = [f"--volume={folder}:/tmp", *beside, *entry]
            words = load("one-host.yaml", "--workers=3", "--iteration-seconds=600", "--tally-seconds=1")
            run = start(name, *words[len(entry) :], options=options)
            wait_for_lines(run, 4)
            seen = processes(run.pid())
            expect("no zombie while it runs", [name for state, name in seen if state == "Z"], [])
            tell(f"processes while it runs: {', '.join(sorted({name for _, name in seen}))}")
            run.signal("TERM")
            expect("SIGTERM: exit status", run.wait(), 143)
            summary = summary_in(run.log()[0])
            counts = (summary["interrupted"], summary["failed"], summary["pulled"] > 0)
            expect("SIGTERM: interrupted, failed and pulled in the summary", counts, (True, 0, True))
            left = sorted(path.name for path in Path(folder).iterdir())
            expect("nothing is left but the files asked for", left, ["log", "metrics"])


class Hosts:
    """The containers of many-hosts.yaml with two hosts, in one network namespace.

    `tls` has the files of the secret, and one named `names` in place of DNS.
    """

    def __init__(self, start: Callable[..., Container], tls: Path) -> None:
        self._start = start
        self._options = [*start_lab(start), f"--volume={tls}:/tls:ro", f"--volume={tls}/names:/etc/hosts:ro"]
        self.scheduler = self._run("scheduler", arguments("many-hosts.yaml", "dask", "scheduler"))
        self.hosts = [self._host(number) for number in range(2)]

    def _run(self, name: str, words: Sequence[str], *options: str) -> Container:
        return self._start(name, *words, options=[*self._options, TMP, *options])

    def _host(self, number: int) -> Container:
        """A host. Another one is in the same network namespace, so it has another port."""
        words = arguments("many-hosts.yaml", "dask", "worker")
        words = [word.replace("$(POD)", f"host-{number}").replace("$(IP)", "127.0.0.1") for word in words]
        scratch = ("--tmpfs=/scratch:rw,mode=1777", "--env=TMPDIR=/scratch", "--env=DOCKER_CONFIG=/logins")
        return self._run(f"host-{number}", replaced(words, f"--worker-port={8788 + number}"), *scratch)

    def control(self, name: str, *options: str) -> Container:
        words = load(
            "many-hosts.yaml",
            "--min-hosts=2",
            "--workers=4",
            "--tally-seconds=1",
            "--hosts-timeout=1m",
            *options,
        )
        return self._run(name, words)


def make_certificates(folder: Path) -> None:
    """As the page on many hosts says, and readable for the user of the image."""
    page = (ROOT / "docs" / "distributed.md").read_text().partition("\n## Certificates\n")[2]
    section = page.partition("\n## ")[0]
    code = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))
    subprocess.run(["sh", "-ec", code], cwd=folder, capture_output=True, check=True)
    folder.chmod(0o755)
    (folder / "hosts.key").chmod(0o644)


def try_many_hosts(start: Callable[..., Container]) -> None:
    with TemporaryDirectory() as folder:
        make_certificates(Path(folder))
        Path(folder, "names").write_text("127.0.0.1 localhost ocidriver\n")
        hosts = Hosts(start, Path(folder))
        run = hosts.control("run", "--passes=2", "--iteration-seconds=0.2")
        expect("many hosts: exit status", run.wait(), 0)
        summary = summary_in(run.log()[0])
        counts = (summary["pulled"], summary["failed"], len(summary["hosts"]))
        expect("many hosts: pulled, failed and hosts", counts, (24, 0, 2))
        stopped = hosts.control("stopped", "--iteration-seconds=600")
        wait_for_lines(stopped, 6)
        for host in hosts.hosts:
            seen = processes(host.pid())
            expect(f"no zombie on {host.name}", [name for state, name in seen if state == "Z"], [])
            tell(f"processes: {', '.join(sorted({name for _, name in seen}))}")
        stopped.signal("TERM")
        expect("many hosts, SIGTERM: exit status", stopped.wait(), 143)
        lost = hosts.control("lost", "--iteration-seconds=600")
        wait_for_lines(lost, 6)
        hosts.scheduler.signal("TERM")
        expect("the scheduler ends: exit status of the controller", lost.wait(), 1)
        for host in hosts.hosts:
            expect(f"the scheduler ends: exit status of {host.name}", host.wait(), 0)
            said = [line for line in host.log()[1].splitlines() if line.startswith("ocidriver: ")]
            tell(f"{host.name} says: {' / '.join(said)}")
            expect(f"{host.name} says what it counted", any(" pulled" in line for line in said), True)


def main() -> int:
    words = sys.argv[1:]
    if "--built" not in words:
        build(words[words.index("--") + 1 :] if "--" in words else [])
    try_what_is_in_it()
    for trial in (try_one_host, try_to_stop, try_many_hosts):
        with containers() as start:
            trial(start)
    tell("all promises kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
