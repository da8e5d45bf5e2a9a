"""Builds the container image without an image registry, and tries what it promises.

    .venv/bin/python scripts/try_image.py [--built] [-- OPTIONS OF podman build]

It needs root, podman, runc, mmdebstrap and Go. The base images are made of Debian's packages, with the Go of this
machine. Everything else is what the Dockerfile says. The build takes minutes. `--built` tries the image of the last
build. All loads are between containers that share a network namespace with nothing but loopback in it.
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
    """The limits of this process: podman would raise them, which takes a right that root in a sandbox lacks."""
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
    "--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:rw,mode=1777", "--cap-drop=all",
    "--security-opt=no-new-privileges", *ulimits(),
)  # fmt: skip
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
    golang = f"docker.io/library/golang:{ARGUMENTS['GO']}-{ARGUMENTS['DEBIAN']}"
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
    """Starts containers, and removes them all at the end."""
    with ExitStack() as stack:

        def start(name: str, *words: str, options: Sequence[str] = ()) -> Container:
            container = Container(f"ocidriver-try-{name}", *words, options=options)
            stack.callback(container.remove)
            return container

        yield start


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
    return podman("run", "--rm", "--network=none", *RESTRICTED, IMAGE, "sh", "-c", text)


def try_what_is_in_it() -> None:
    expect("the user is not root", in_a_shell("id -u").strip(), "65532")
    expect(
        "nothing but /tmp can be written", in_a_shell("touch /x /results/x 2>&1 | wc -l; touch /tmp/x"), "2\n"
    )
    for tool in ("ocidriver --version", "crane version", "skopeo --version", "dask --version"):
        tell(f"{tool}: {in_a_shell(tool).strip()}")
    found = in_a_shell("grep -c ld-linux /usr/local/bin/crane; python3 -c 'import sys; print(sys.version)'")
    expect("crane is static", found.splitlines()[0], "0")


def load(manifest: str, *more: str) -> list[str]:
    """The arguments of the load test in a manifest, with the servers of the lab."""
    documents = yaml.safe_load_all((ROOT / "contrib" / "kubernetes" / manifest).read_text())
    jobs = [each for each in documents if each["kind"] == "Job"]
    words = jobs[0]["spec"]["template"]["spec"]["containers"][0]["args"]
    own = {word.partition("=")[0] for word in more}
    servers = (f"--pullthrough-url={CACHE}", f"--registry-url={UPSTREAM}")
    kept = [
        word for word in words if word.partition("=")[0] not in own | {"--pullthrough-url", "--registry-url"}
    ]
    return [*kept, *servers, *more]


def start_lab(start: Callable[..., Container]) -> Sequence[str]:
    """Starts the lab in a container, and returns the option that puts another one beside it."""
    words = ("--groups=3", "--images=4", "--layers=2", "--cache-port=8080", "--upstream-port=5000")
    lab = start("lab", "ocidriver", "lab", *words, options=["--network=none"])
    wait_until(lambda: "--pullthrough-url" in "".join(lab.log()), "the lab's start")
    return [f"--network=container:{lab.name}"]


def try_one_host(start: Callable[..., Container]) -> None:
    beside = start_lab(start)
    for client in ("crane", "skopeo"):
        words = load(
            "one-host.yaml", "--workers=3", "--passes=2", "--iteration-seconds=0.2", f"--client={client}"
        )
        run = start(client, *words, options=beside)
        status = run.wait()
        stdout, stderr = run.log()
        if status != 0:
            sys.exit(f"{client}: exit status {status}\n{stdout}{stderr}")
        summary = summary_in(stdout)
        expect(f"a run with {client}: pulled and failed", (summary["pulled"], summary["failed"]), (24, 0))


def try_to_stop(start: Callable[..., Container]) -> None:
    beside = start_lab(start)
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)
        place = (f"--volume={folder}:/tmp", *beside)
        run = start(
            "stop",
            *load("one-host.yaml", "--workers=3", "--iteration-seconds=600", "--tally-seconds=1"),
            options=place,
        )
        wait_until(lambda: " pulled" in run.log()[1] or run.log()[1].count("\n") > 3, "progress of the run")
        seen = processes(run.pid())
        expect("no zombie while it runs", [name for state, name in seen if state == "Z"], [])
        tell(f"processes while it runs: {sorted({name for _, name in seen})}")
        run.signal("TERM")
        expect("SIGTERM: exit status", run.wait(), 143)
        summary = summary_in(run.log()[0])
        expect(
            "SIGTERM: the summary is complete",
            (summary["exit_status"], summary["failed"], summary["pulled"] > 0),
            (143, 0, True),
        )
        left = sorted(path.name for path in Path(folder).iterdir())
        expect("nothing is left but the files asked for", left, ["log", "metrics"])


def main() -> int:
    words = sys.argv[1:]
    if "--built" not in words:
        build(words[words.index("--") + 1 :] if "--" in words else [])
    try_what_is_in_it()
    for trial in (try_one_host, try_to_stop):
        with containers() as start:
            trial(start)
    tell("all promises kept")
    return 0


if __name__ == "__main__":
    sys.exit(main())
