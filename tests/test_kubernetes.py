"""The manifests for Kubernetes: valid by schema, and every name, port, command and option in them exists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest
import yaml
from distributed.cli import dask_scheduler, dask_worker

from lib.cli import check_load_test
from lib.container import REST_SECONDS
from lib.options.definitions import OPTIONS
from tests.support.paths import ROOT

MANIFESTS = sorted((ROOT / "contrib" / "kubernetes").glob("*.yaml"))
ONE, MANY, OPERATOR = (
    ROOT / "contrib" / "kubernetes" / f"{name}.yaml" for name in ("one-host", "many-hosts", "dask-operator")
)
PAGE = ROOT / "docs" / "how-to" / "run-in-kubernetes.md"
# The oldest Kubernetes that has everything that a manifest uses, as the page says.
OLDEST = {ONE.name: "1.26", MANY.name: "1.33", OPERATOR.name: "1.26"}
SCHEDULER_PORT, HOST_PORT = 8786, 8788
Manifest = Mapping[str, Any]

every_manifest = pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
of_many = pytest.mark.parametrize("path", [MANY, OPERATOR], ids=lambda path: path.name)


@dataclass(frozen=True)
class Pod:
    """What a manifest makes pods of: the labels, and the specification."""

    labels: Mapping[str, str]
    spec: Manifest

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def role(self) -> str:
        return self.labels["role"]


def documents(path: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(path.read_text()))


def of_kind(path: Path, kind: str) -> list[Manifest]:
    return [each for each in documents(path) if each["kind"] == kind]


def pods(path: Path) -> Iterator[Pod]:
    for job in of_kind(path, "Job"):
        template = job["spec"]["template"]
        yield Pod(template["metadata"]["labels"], template["spec"])
    for cluster in of_kind(path, "DaskCluster"):
        for part in ("worker", "scheduler"):
            template = cluster["spec"][part]
            yield Pod(template["metadata"]["labels"], template["spec"])


def containers(path: Path) -> list[Manifest]:
    return [container for pod in pods(path) for container in pod.containers]


def commands(path: Path, *first: str) -> list[list[str]]:
    """The words after these first ones, of each container that begins with them."""
    words = [container["args"] for container in containers(path)]
    return [each[len(first) :] for each in words if tuple(each[: len(first)]) == first]


def option(words: Sequence[str], name: str) -> str:
    (value,) = (word.partition("=")[2] for word in words if word.startswith(f"{name}="))
    return value


def settings(words: Sequence[str]) -> dict[str, str]:
    return {name: value for name, found, value in (word.partition("=") for word in words) if found}


def as_the_api_sees_it(document: Manifest) -> list[Manifest]:
    """A cluster of the operator as what the operator makes of it: a pod for each part, and the service."""
    if document["kind"] != "DaskCluster":
        return [document]
    assert set(document["spec"]) == {"worker", "scheduler"}
    parts = document["spec"]
    metadata = {"name": "made"}
    return [
        *({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": part["spec"]} for part in parts.values()),
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": parts["scheduler"]["service"]},
    ]  # fmt: skip


@every_manifest
def test_it_is_valid(path: Path) -> None:
    """An unknown field is an error, too."""
    for version in (OLDEST[path.name], kubernetes_validate.latest_version()):
        for document in documents(path):
            for each in as_the_api_sees_it(document):
                kubernetes_validate.validate(each, version, strict=True)


@every_manifest
def test_the_page_says_what_it_needs(path: Path) -> None:
    (row,) = (
        line
        for line in PAGE.read_text().splitlines()
        if line.startswith(f"| `contrib/kubernetes/{path.name}`")
    )
    assert row.rstrip("| ").endswith(
        "the operator" if path == OPERATOR else f"Kubernetes {OLDEST[path.name]}"
    )


def test_an_unknown_field_and_a_field_of_a_later_version_are_seen() -> None:
    job = of_kind(MANY, "Job")[1]
    wrong = {**job, "spec": {**job["spec"], "completion": 20}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, OLDEST[MANY.name], strict=True)


# --- commands and options ------------------------------------------------------------------------------------


@every_manifest
def test_the_load_test_accepts_its_options(path: Path, tmp_path: Path) -> None:
    """With files in place of those of the secret."""
    ((*words,),) = commands(path, "ocidriver")
    for name in ("ca.pem", "hosts.pem", "hosts.key"):
        (tmp_path / name).touch()
    here = [word.replace("=/tls/", f"={tmp_path}/") for word in words]
    check_load_test(here)
    assert all(word.startswith("--") for word in words)


@of_many
@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_dask_accepts_its_options(path: Path, command: str) -> None:
    main: click.Command = {"worker": dask_worker.main, "scheduler": dask_scheduler.main}[command]
    (words,) = commands(path, "dask", command)
    names = {name for each in main.params for name in (*each.opts, *each.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= names


@every_manifest
def test_a_command_is_given_as_arguments_of_the_entry_point(path: Path) -> None:
    """`command` would replace the first process of the image."""
    for container in containers(path):
        assert "command" not in container
        assert container["args"][0] in ("ocidriver", "dask")


@every_manifest
def test_the_variables_in_arguments_are_set(path: Path) -> None:
    given = {"DASK_WORKER_NAME"} if path == OPERATOR else set()  # by the operator
    for container in containers(path):
        variables = {each["name"] for each in container.get("env", [])} | given
        assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) <= variables


# --- names and ports -----------------------------------------------------------------------------------------


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return selector.items() <= labels.items()


def test_hosts_and_controller_find_the_scheduler() -> None:
    (service,) = of_kind(MANY, "Service")
    ((worker,), (scheduler,), (controller,)) = (
        commands(MANY, *words) for words in (("dask", "worker"), ("dask", "scheduler"), ("ocidriver",))
    )
    (port,) = service["spec"]["ports"]
    assert worker[0] == f"tls://{service['metadata']['name']}:{port['port']}"
    assert option(scheduler, "--port") == str(port["port"])
    assert option(controller, "--hosts") == f"tls://127.0.0.1:{port['port']}"
    selected = [pod for pod in pods(MANY) if matches(service["spec"]["selector"], pod.labels)]
    assert [[each["name"] for each in pod.containers] for pod in selected] == [["scheduler", "ocidriver"]]


def test_the_operators_hosts_and_controller_find_the_scheduler() -> None:
    """The operator calls the service after the cluster, and gives its pods these labels."""
    (cluster,) = of_kind(OPERATOR, "DaskCluster")
    name = cluster["metadata"]["name"]
    scheduler = cluster["spec"]["scheduler"]
    (port,) = scheduler["service"]["ports"]
    ((worker,), (controller,)) = (
        commands(OPERATOR, *words) for words in (("dask", "worker"), ("ocidriver",))
    )
    assert worker[0] == option(controller, "--hosts") == f"tls://{name}-scheduler:{port['port']}"
    (container,) = scheduler["spec"]["containers"]
    assert container["ports"] == [{"name": port["targetPort"], "containerPort": port["port"]}]
    assert option(container["args"], "--port") == str(port["port"])
    assert scheduler["service"]["selector"] == {
        "dask.org/cluster-name": name,
        "dask.org/component": "scheduler",
    }


@of_many
def test_the_policy_admits_what_is_needed_and_no_more(path: Path) -> None:
    (policy,) = of_kind(path, "NetworkPolicy")
    everyone = policy["spec"]["podSelector"]["matchLabels"]
    assert all(matches(everyone, pod.labels) for pod in pods(path))
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {"matchLabels": everyone}}]
    assert {each["port"] for each in rule["ports"]} == {SCHEDULER_PORT, HOST_PORT}
    (worker,) = commands(path, "dask", "worker")
    (scheduler,) = commands(path, "dask", "scheduler")
    assert (option(worker, "--worker-port"), option(scheduler, "--port")) == (
        str(HOST_PORT),
        str(SCHEDULER_PORT),
    )


@every_manifest
def test_every_file_is_in_a_volume(path: Path) -> None:
    for pod in pods(path):
        volumes = {each["name"] for each in pod.spec["volumes"]}
        used = set()
        for container in pod.containers:
            mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
            used |= set(mounts.values())
            named = [
                *settings(container["args"]).values(),
                *(each.get("value", "") for each in container.get("env", [])),
            ]
            for value in named:
                assert not value.startswith("/") or value.startswith(("/dev/", *mounts)), value
        assert used == volumes


@every_manifest
def test_the_secrets_are_those_that_the_page_makes(path: Path) -> None:
    made = dict(re.findall(r"^    kubectl create secret generic (\S+)(.*)$", PAGE.read_text(), re.MULTILINE))
    keys = {name: set(re.findall(r"--from-file=([\w.]+)", rest)) for name, rest in made.items()}
    mounted = {
        (volume["secret"]["secretName"], mount["mountPath"])
        for pod in pods(path)
        for volume in pod.spec["volumes"]
        if "secret" in volume
        for container in pod.containers
        for mount in container["volumeMounts"]
        if mount["name"] == volume["name"]
    }
    assert {name for name, _ in mounted} == (set(made) if path != ONE else {"ocidriver-logins"})
    assert keys["ocidriver-logins"] == {"config.json"}
    for container in containers(path):
        files = {
            Path(value).name for value in settings(container["args"]).values() if value.startswith("/tls/")
        }
        assert files in (set(), keys["ocidriver-tls"])


# --- promises ------------------------------------------------------------------------------------------------


@every_manifest
def test_no_load_runs_again_by_itself(path: Path) -> None:
    for job in of_kind(path, "Job"):
        spec = job["spec"]
        once = {"backoffLimitPerIndex": 0} if "completionMode" in spec else {"backoffLimit": 0}
        assert spec.items() >= once.items()
        assert spec["template"]["spec"]["restartPolicy"] == "Never"


@every_manifest
def test_pods_have_no_rights_that_they_do_not_need(path: Path) -> None:
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for pod in pods(path):
        assert pod.spec["automountServiceAccountToken"] is False
        rights = pod.spec["securityContext"]
        assert rights["runAsNonRoot"] is True
        assert (str(rights["runAsUser"]), str(rights["runAsGroup"])) == user
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@of_many
def test_dask_is_reached_by_tls_alone(path: Path) -> None:
    (worker,), (scheduler,) = (commands(path, "dask", command) for command in ("worker", "scheduler"))
    assert worker[0].startswith("tls://")
    assert option(scheduler, "--protocol") == "tls"
    for words in (worker, scheduler):
        assert {"--tls-ca-file", "--tls-cert", "--tls-key"} <= set(settings(words))
        assert option(words, "--dashboard-address") == "127.0.0.1:0"
        assert "--no-dashboard" in words


@every_manifest
def test_request_and_limit_are_equal(path: Path) -> None:
    for container in containers(path):
        assert container["resources"]["requests"] == container["resources"]["limits"]


@every_manifest
def test_a_stop_has_the_time_that_it_takes(path: Path) -> None:
    (grace,) = (each.default for each in OPTIONS if each.name == "grace")
    for pod in pods(path):
        if pod.role != "scheduler":
            assert float(str(grace).rstrip("s")) < pod.spec["terminationGracePeriodSeconds"] == REST_SECONDS


@of_many
def test_the_number_of_hosts_is_the_same_everywhere(path: Path) -> None:
    (controller,) = commands(path, "ocidriver")
    numbers = [int(option(controller, "--min-hosts"))]
    if path == OPERATOR:
        numbers += [cluster["spec"]["worker"]["replicas"] for cluster in of_kind(path, "DaskCluster")]
    else:
        hosts = of_kind(path, "Job")[1]["spec"]
        numbers += [hosts[name] for name in ("completions", "parallelism", "maxFailedIndexes")]
    assert len(set(numbers)) == 1 < len(numbers)


def test_the_two_ways_to_many_hosts_run_the_same() -> None:
    """But for the names that the operator chooses."""
    renamed = {"$(POD)": "$(DASK_WORKER_NAME)"}
    renamed |= {f"//{name}:": "//ocidriver-scheduler:" for name in ("ocidriver", "127.0.0.1")}
    for words in (("dask", "worker"), ("dask", "scheduler"), ("ocidriver",)):
        (plain,), (operated,) = (commands(path, *words) for path in (MANY, OPERATOR))
        for old, new in renamed.items():
            plain = [word.replace(old, new) for word in plain]
        assert plain == operated
