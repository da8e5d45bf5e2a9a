"""Whatever a run refuses before its load, the doctor finds too, and it recommends no command that a run refuses."""

from __future__ import annotations

import ast
import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import cli, prepare
from lib.errors import RunError
from lib.lab.servers import lab_cache
from lib.prepare import Beginning, Preparation
from lib.processes.signals import Stop
from lib.stage import Staged, stages_of
from tests.support.driving import command
from tests.support.upstream import Upstream

LIB = Path(__file__).resolve().parents[2] / "lib"
FILES = ("metrics", "log", "events", "pieces", "summary", "report")


@dataclass(frozen=True)
class Place:
    """Servers that work, and a folder with things that do not."""

    cache: str
    upstream: str
    folder: Path
    taken_port: int

    def good(self) -> dict[str, str]:
        """Options that work."""
        return {
            "--pullthrough-url": self.cache,
            "--registry-url": self.upstream,
            "--workers": "2",
            "--passes": "1",
            "--client": "crane",
            "--metrics-file": f"{self.folder}/metrics",
            "--log-file": f"{self.folder}/log",
        }


@pytest.fixture(scope="module")
def place(upstream: Upstream, crane: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("place")
    (folder / "file").write_text("kept")
    (folder / "sub").mkdir()
    (folder / "garbage").write_text("app:v1\nno image at all\n")
    (folder / "config.json").write_text("{")
    (folder / "not-crane").write_text("#!/bin/sh\necho something else\n")
    (folder / "not-crane").chmod(0o755)
    with lab_cache(upstream.address) as cache, socket.create_server(("127.0.0.1", 0)) as taken:
        yield Place(cache.address, upstream.address, folder, taken.getsockname()[1])


@dataclass(frozen=True)
class Refused:
    """Options that a run refuses, with the beginning of what it says, and whether the doctor can mend them itself.

    `{folder}`, `{port}`, `{cache}` and `{upstream}` are those of the place. None leaves an option out.
    """

    options: Mapping[str, str | None]
    told: str
    mended: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


BELOW_A_FILE = {
    f"--{name}-file below a file": Refused(
        {f"--{name}-file": "{folder}/file/below"},
        f"--{name}-file: cannot write {{folder}}/file/below: Not a directory",
        mended=True,
    )
    for name in FILES
}
A_FOLDER = {
    f"--{name}-file is a folder": Refused(
        {f"--{name}-file": "{folder}/sub"},
        f"--{name}-file: cannot write {{folder}}/sub: Is a directory",
        mended=True,
    )
    for name in FILES
}
REFUSED = {
    **BELOW_A_FILE,
    **A_FOLDER,
    "start": Refused({"--start-at": "nonsense"}, "--start-at: cannot read 'nonsense'", mended=True),
    "start in the past": Refused({"--start-at": "2020-01-31 22:30Z"}, "--start-at: 2020-01-31", mended=True),
    "start without a time": Refused({"--start-at": "2090-01-31"}, "--start-at: '2090-01-31' has no", mended=True),
    "a file in /proc": Refused({"--log-file": "/proc/no/file"}, "--log-file: cannot write /proc/no", mended=True),
    "no image list": Refused({"--image-list": "{folder}/none"}, "--image-list: cannot read {folder}/none"),
    "an image list of garbage": Refused({"--image-list": "{folder}/garbage"}, "--image-list: {folder}/garbage: line 2"),
    "a port that is taken": Refused(
        {"--metrics-listen": "127.0.0.1:{port}"}, "--metrics-listen: cannot listen on 127.0.0.1:{port}", mended=True
    ),
    "an address of another machine": Refused(
        {"--metrics-listen": "192.0.2.1:9100"}, "--metrics-listen: cannot listen on 192.0.2.1:9100", mended=True
    ),
    "no client": Refused({"--client": "{folder}/none"}, "the client '{folder}/none' was not found"),
    "another program": Refused({"--client": "{folder}/not-crane"}, "the client '{folder}/not-crane' does not work"),
    "no server": Refused({"--pullthrough-url": "127.0.0.1:1"}, "127.0.0.1:1 refuses connections"),
    "no upstream": Refused({"--registry-url": "127.0.0.1:1"}, "127.0.0.1:1 refuses connections"),
    "no catalog": Refused({"--registry-url": "{cache}"}, "{cache} has no catalog"),
    "a login that is broken": Refused({}, "{folder}/config.json", environment={"DOCKER_CONFIG": "{folder}"}),
    "a SOCKS proxy": Refused(
        {"--pullthrough-url": "cache.example:5000"}, "HTTP_PROXY names the SOCKS proxy socks5://127.0.0.1:1080",
        environment={"HTTP_PROXY": "socks5://bob:pw@127.0.0.1"},
    ),
    "a proxy for a CGI program": Refused(
        {"--pullthrough-url": "cache.example:5000"}, "REQUEST_METHOD is set, as for a CGI program",
        environment={"HTTP_PROXY": "127.0.0.1:3128", "REQUEST_METHOD": "GET"},
    ),
    "a filter that leaves nothing": Refused({"--filter": "nowhere"}, "--filter 'nowhere' leaves none of the 12"),
    "a pattern that selects nothing": Refused(
        {"--workers": None, "--patterns": "nowhere"}, "the pattern 'nowhere' selects none of 12 images"
    ),
    "one pattern of two": Refused(
        {"--workers": None, "--patterns": "nowhere,-0001"}, "the pattern 'nowhere' selects none of 12", mended=True
    ),
    "more workers than images": Refused({"--workers": "13"}, "--workers 13 is more than the 12 images", mended=True),
    "names that are too long": Refused(
        {"--layout": "{{pullthrough}}/" + "a" * 245 + "/{{repository}}"}, "'" + "a" * 245, mended=True
    ),
    "a server that refuses deletes": Refused(
        {"--prune": "true", "--prune-via": "client"}, "--prune: {cache} cannot be pruned: it refuses", mended=True
    ),
    "no scheduler": Refused({"--hosts": "tcp://127.0.0.1:1"}, "cannot reach the hosts' scheduler tcp://127.0.0.1:1"),
    "hosts without a client": Refused(
        {"--hosts": "local:2", "--client": "{folder}/none"}, "the client '{folder}/none' was not found"
    ),
    "hosts that would prune one image": Refused(
        {"--hosts": "local:2", "--deal": "all", "--prune": "true"}, "--prune: several hosts would prune the same",
        mended=True,
    ),
}  # fmt: skip
# What both take for wrong usage: they make the settings in the same way.
WRONG = {
    "--threshold": "speed>9",
    "--ca-file": "{folder}/none",
    "--client-cert": "{folder}/file",
    "--client-key": "{folder}/file",
    "--platform": "amd64",
    "--layout": "unknown",
    "--rate": "soon",
    "--filter": "(",
    "--pull-timeout": "0",
    "--upstream-name": " ",
    "--metrics-listen": "nowhere",
    "--events-file": "{folder}/log",
    "--summary-file": "{folder}/log/below",
    "--registry-url": "http://u/../path",
    "--pullthrough-url": "http://u/path",
}


def placed(text: str, place: Place) -> str:
    return text.format(folder=place.folder, port=place.taken_port, cache=place.cache, upstream=place.upstream)


def words_of(options: Mapping[str, str | None], place: Place) -> list[str]:
    """The good options of the place with these in place of its own."""
    both = place.good() | {
        name: value if value is None else placed(value, place) for name, value in options.items()
    }
    return [f"{name}={value}" for name, value in both.items() if value is not None]  # fmt: skip


def ran(*words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), capture_output=True, text=True, timeout=100, check=False,
        env={**os.environ, **(environment or {})},
    )  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_run_refuses_the_doctor_finds(
    name: str, place: Place, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    case = REFUSED[name]
    if "--hosts" in case.options:
        pytest.importorskip("distributed")
    words, told = words_of(case.options, place), placed(case.told, place)
    for key, value in case.environment.items():
        monkeypatch.setenv(key, placed(value, place))
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)  # other tests run in this process
    status = cli.main(words)
    out, err = capfd.readouterr()
    assert (status in (1, 2), out, told in err) == (True, "", True), err
    status, checks, recommended = examined(words, monkeypatch, capfd)
    assert status == 1
    assert any(each["status"] == "failure" and told in each["message"] for each in checks)
    if case.mended:
        assert recommended is not None
        assert recommended != words
        (place.folder / "log").unlink(missing_ok=True)
        assert ran(*recommended).returncode == 0
    elif recommended is not None:  # right once something else than the options has changed
        assert recommended == words


@pytest.mark.parametrize("option", WRONG)
def test_what_is_wrong_usage_of_a_run_is_that_of_the_doctor(
    option: str, place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    words = words_of({option: WRONG[option]}, place)
    status = cli.main(words)
    of_run = capfd.readouterr()
    assert (status, of_run.out) == (2, "")
    status = cli.main(["doctor", *words])
    of_doctor = capfd.readouterr()
    said = of_doctor.err.replace("(see ocidriver doctor --help)", "(see ocidriver --help)")
    assert (status, of_doctor.out, said) == (2, "", of_run.err)


def test_a_good_command_is_recommended_as_it_is(place: Place) -> None:
    words = words_of({}, place)
    examined = ran("doctor", "--json", *words)
    found = json.loads(examined.stdout)
    assert (examined.returncode, found["command"][1:]) == (0, words)
    assert ran(*words).returncode == 0


# --- each stage, and each place in the code that refuses


STAGES: tuple[tuple[type[Staged], str], ...] = tuple(
    (staged, name) for staged in (Beginning, Preparation) for name in stages_of(staged)
)


def test_it_sees_the_stages() -> None:
    assert {(Beginning, "start_at"), (Preparation, "pruner")} <= set(STAGES)


@pytest.mark.parametrize(
    ("staged", "name"), STAGES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_doctor_carries_out_every_stage(
    staged: type[Staged],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "images").write_text("app:v1\n")
    words = [*DRY, f"--image-list={tmp_path}/images", "--workers=1", "--metrics-listen=127.0.0.1:0"]
    assert examined(words, monkeypatch, capfd)[0] == 0
    told = RunError("made up")

    def fail(_: Staged) -> None:
        raise told

    monkeypatch.setattr(staged, name, fail)
    status, checks, _ = examined(words, monkeypatch, capfd)
    assert status == 1
    assert [each["message"] for each in checks if each["status"] == "failure"].count("made up") == 1


# Where a run may be refused before its load: by which function, and what shows it to the doctor.
SETTINGS, LATER, OTHERS = "the settings", "the load", "other commands"
# As checks of `doctor --hosts`.
HOSTS = "the hosts"
PLACES = {
    "cli.py: _subcommand": OTHERS,
    "clients/client.py: parse_platform": SETTINGS,
    "client_setup.py: _check_fit": "client_setup",
    "client_setup.py: _check_options": "client_setup",
    "clients/containerd.py: __init__": "client_setup",
    "clients/containerd.py: _connect": "client_setup",
    "clients/containerd.py: _home": "client_setup",
    "clients/containerd.py: _wait_until_it_answers": "client_setup",
    "clients/namespaces.py: check": "client_setup",
    "clients/containerd.py: find_containerd": "client_setup",
    "clients/ctr.py: _check_logins": "client_setup",
    "clients/find.py: _ask": "found",
    "clients/find.py: _identify": "found",
    "clients/find.py: find_client": "found",
    "drive.py: drive": LATER,
    "first_pulls.py: prune_first": LATER,  # the doctor prunes one image
    "first_pulls.py: warm_up": LATER,  # the doctor pulls one image
    "host_process.py: _given": HOSTS,
    "hosts/appointment.py: wait_for": LATER,
    "hosts/arming.py: _check_none_has_begun": LATER,
    "hosts/arming.py: arm": LATER,
    "hosts/clocks.py: _judge": HOSTS,
    "hosts/collecting.py: write": LATER,
    "hosts/dask_fleet.py: ": HOSTS,
    "hosts/dask_fleet.py: _check": HOSTS,
    "hosts/dask_fleet.py: _connect": HOSTS,
    "hosts/driving.py: assemble": HOSTS,
    "hosts/gathering.py: gather": HOSTS,
    "hosts/hearing.py: check_scheduler": HOSTS,
    "hosts/local_cluster.py: __enter__": HOSTS,
    "hosts/local_cluster.py: _wait_for_address": HOSTS,
    "hosts/preparing.py: raise_why": HOSTS,
    "http/address.py: _check_host": SETTINGS,
    "http/address.py: parse_endpoint": SETTINGS,
    "http/address.py: parse_listen": SETTINGS,
    "http/connections.py: logins": "client_setup",
    "http/tls.py: _authorities": SETTINGS,
    "http/tls.py: _check_file": SETTINGS,
    "http/tls.py: _check_pair": SETTINGS,
    "http/tls.py: _read": SETTINGS,
    "http/tls.py: parse_tls": SETTINGS,
    "images.py: by_patterns": "selection",
    "images.py: compile_regex": SETTINGS,
    "images.py: deal": "selection",
    "listing/selection.py: list_upstream": "listing",
    "listing/selection.py: read_image_list": "image_list",
    "listing/selection.py: select": "selection",
    "load/curve.py: parse_rate": SETTINGS,
    "load/order.py: parse_draw": SETTINGS,
    "load/share.py: parse_share": SETTINGS,
    "load/stages.py: _parse": SETTINGS,
    "load/stages.py: parse_stages": SETTINGS,
    "load/warm_up.py: _start": LATER,
    "options/files.py: _check_folders": SETTINGS,
    "options/files.py: _check_outputs": SETTINGS,
    "options/files.py: _check_streams": SETTINGS,
    "options/files.py: check_apart": SETTINGS,
    "options/hosts.py: _check_address": SETTINGS,
    "options/hosts.py: _check_alone": SETTINGS,
    "options/hosts.py: _check_together": SETTINGS,
    "options/hosts.py: parse_hosts": SETTINGS,
    "options/settings.py: _batch": SETTINGS,
    "options/settings.py: _check_deal": SETTINGS,
    "options/settings.py: _check_hosts": SETTINGS,
    "options/settings.py: _check_shape": SETTINGS,
    "options/settings.py: _iteration_seconds": SETTINGS,
    "options/settings.py: _client": SETTINGS,
    "options/settings.py: _deal": SETTINGS,
    "options/settings.py: _seed": SETTINGS,
    "options/settings.py: _socket": SETTINGS,
    "options/settings.py: _upstream_name": SETTINGS,
    "options/settings.py: check_together": SETTINGS,
    "options/start_at.py: parse_start": "start_at",
    "options/thresholds.py: parse": SETTINGS,
    "options/thresholds.py: parse_slo": OTHERS,
    "prepare.py: files": "files",
    "prepare.py: ping": "ping",
    "prepare.py: ways": "ways",
    "prepare.py: report": "report",
    "processes/limits.py: raise_descriptor_limit": "descriptors",
    "processes/scratch.py: __enter__": "scratch",
    "results/line_file.py: _open": "files",
    "results/prometheus.py: start": "endpoint",
    "results/summary_file.py: read_summary": OTHERS,
    "results/whole_file.py: check_path": "files",
    "run_on_hosts.py: _drive": LATER,
    "hosts_setup.py: check_prunes": HOSTS,
    "hosts_setup.py: connected": HOSTS,
    "servers/choose_prune.py: choose": "pruner",
    "servers/gateway.py: check_fit": "client_setup",
    "servers/layout.py: _check_sample": SETTINGS,
    "servers/layout.py: _from_template": SETTINGS,
    "servers/layout.py: _with_prefix": SETTINGS,
    "servers/layout.py: parse_layout": SETTINGS,
    "servers/prune_probe.py: cannot_prune": "pruner",
    "servers/route.py: _check_names": "client_setup",
    "servers/route.py: _ociregistry_route": "client_setup",
    "servers/route.py: _template_route": "client_setup",
    "servers/route.py: plan_route": "client_setup",
}
NOT_OF_A_RUN = ("capacity", "compare", "doctor", "lab", "pages", "pieces", "report")


def refusing(tree: ast.AST, function: str = "") -> Iterator[str]:
    """The functions that make a UsageError or a RunError."""
    for node in ast.iter_child_nodes(tree):
        inside = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("UsageError", "RunError"):
            yield inside
        yield from refusing(node, inside)


def test_every_refusal_in_the_code_is_a_stages_or_the_settings() -> None:
    """One that is new needs a line in `PLACES`, and a stage that shows it to the doctor."""
    paths = [path.relative_to(LIB) for path in LIB.rglob("*.py")]
    found = {
        f"{path}: {function}"
        for path in paths
        if path.parts[0] not in NOT_OF_A_RUN
        for function in refusing(ast.parse((LIB / path).read_text()))
    }
    assert found == set(PLACES)
    assert set(PLACES.values()) - {SETTINGS, LATER, OTHERS, HOSTS} <= {name for _, name in STAGES}


# --- any set of options


DRY = [
    "--dry-run", "--pullthrough-url=127.0.0.1:1", "--registry-url=127.0.0.1:2", "--passes=1", "--tally-seconds=60",
]  # fmt: skip


def examined(
    words: Sequence[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, str]], list[str] | None]:
    """(exit status, checks, recommended options) of a doctor in this process."""
    monkeypatch.setattr(sys, "argv", ["ocidriver", "doctor", "--json", *words])
    status = cli.main(["doctor", "--json", *words])
    out, err = capfd.readouterr()
    if status == 2:
        assert out == ""
        return status, [], None
    assert err == ""
    found = json.loads(out)
    return status, found["checks"], None if found["command"] is None else found["command"][1:]


def mostly(good: Sequence[str], bad: Sequence[str]) -> st.SearchStrategy[str]:
    """Several options are drawn together, and some of these sets are to be all good."""
    return st.one_of([st.sampled_from(good)] * 3 + [st.sampled_from(bad)])


WORKERS = st.one_of(
    mostly(["1", "3"], ["4"]).map(lambda value: {"--workers": value}),
    mostly(["app", "app,v2"], ["app,zap", "zap", "a,p,z", ","]).map(lambda value: {"--patterns": value}),
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "--start-at": st.sampled_from(["nonsense", "2020-01-01 10:00", "2090-01-01", ""]),
        "--image-list": mostly(["{0}/images"], ["{0}/none", "{0}/garbage", "{0}", "/dev/null"]),
        "--filter": mostly([".", "app"], ["zap", "["]),
        "--metrics-listen": mostly([":0"], ["127.0.0.1:{1}", "192.0.2.1:0", "x y"]),
        "--threshold": mostly(["rate>0", "errors.timeout<=1"], ["speed>1"]),
        "--batch": st.sampled_from(["1", "3"]),
        "--client": mostly(["crane", "/no/client"], ["docker"]),
        **{
            f"--{name}-file": mostly(
                [f"{{0}}/out/{name}", f"{{0}}/x/../y/{name}", "/dev/null"],
                ["{0}/out", "{0}/images/below", "/proc/no", ""],
            )
            for name in FILES
        },
    },
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(WORKERS, OPTIONS)
def test_a_command_that_the_doctor_recommends_is_accepted(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    workers: dict[str, str],
    chosen: dict[str, str],
) -> None:
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)  # other tests run in this process
    folder = tmp_path_factory.mktemp("any")
    (folder / "images").write_text("app:v1\napp:v2\nother/app:v1\n")
    (folder / "garbage").write_text("?")
    before = tree(folder)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = {"--image-list": "{0}/images", **workers, **chosen}
        words = [
            *DRY,
            *(f"{name}={value.format(folder, taken.getsockname()[1])}" for name, value in options.items()),
        ]
        status, checks, recommended = examined(words, monkeypatch, capfd)
        assert tree(folder) == before
        assert (status == 0) == (status != 2 and all(check["status"] != "failure" for check in checks))
        if status == 0:
            assert recommended == words
        if recommended is not None:
            assert cli.main(recommended) == 0, (shlex.join(recommended), capfd.readouterr().err)
            capfd.readouterr()
        else:
            assert cli.main(words) in (1, 2)
            capfd.readouterr()


def tree(folder: Path) -> dict[str, tuple[float, int]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in (folder, *folder.rglob("*"))
    }  # fmt: skip


# --- without a trace


def test_the_doctor_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("app:v1\n")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for name in FILES:
        (tmp_path / name).write_text(f"an earlier {name}")
    before = tree(tmp_path)
    kept = [f"--{name}-file={tmp_path}/{name}" for name in FILES]
    missing = [f"--{name}-file={tmp_path}/new/folder/{name}" for name in FILES]
    words = [*DRY, f"--image-list={tmp_path}/images", "--workers=1", f"--metrics-listen=127.0.0.1:{port}"]
    for files in (kept, missing):
        done = ran("doctor", *words, *files)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        assert "✓ files: summary, events, report, pieces, metrics, log can be written" in done.stdout
        assert f"✓ metrics: can be served at http://127.0.0.1:{port}/metrics" in done.stdout
        assert tree(tmp_path) == before
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_report_needs_its_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prepare, "find_spec", lambda name: None if name == "numpy" else object())
    (tmp_path / "images").write_text("app:v1\n")
    words = [*DRY, f"--image-list={tmp_path}/images", "--workers=1", f"--report-file={tmp_path}/report"]
    status, checks, recommended = examined(words, monkeypatch, capfd)
    told = "--report-file: missing Python packages (numpy); install the packages of requirements.txt"
    assert (status, recommended) == (1, words[:-1])
    assert next(each["message"] for each in checks if each["status"] == "failure").startswith(told)
    assert cli.main(words) == 1
    assert capfd.readouterr().err.startswith(f"ocidriver: {told}")
    assert not (tmp_path / "report").exists()


def test_the_client_that_auto_prefers_does_not_work(place: Place, skopeo: str, tmp_path: Path) -> None:
    """A run does not look further then, so the other client has to be named."""
    (tmp_path / "crane").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "crane").chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{Path(skopeo).parent}"}
    words = words_of({"--client": "auto"}, place)
    refused = ran(*words, environment=environment)
    assert (refused.returncode, f"the client '{tmp_path}/crane' does not work" in refused.stderr) == (1, True)
    examined = ran("doctor", "--json", *words, environment=environment)
    found = json.loads(examined.stdout)
    assert examined.returncode == 1
    assert found["command"][-2:] == ["--client", "skopeo"]
    assert ran(*found["command"][1:], environment=environment).returncode == 0


def test_the_doctor_recommends_nothing_when_only_the_user_can_choose(place: Place) -> None:
    done = ran("doctor", *words_of({"--filter": "nowhere"}, place))
    assert done.returncode == 1
    assert done.stdout.endswith("\n\nChange the options as advised above, then run doctor again.\n")


def test_a_list_from_stdin_that_never_comes_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it waits for stdin, the doctor has not taken over the signals yet."""

    def interrupted(_: Beginning) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Beginning, "image_list", interrupted)
    monkeypatch.setattr(Stop, "listening", lambda _: pytest.fail("it listens"))
    assert cli.main(["doctor", *DRY, "--workers=1", "--image-list=-"]) == 130
