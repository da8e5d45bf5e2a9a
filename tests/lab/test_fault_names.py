"""The grammar of faults, and that everything that breaks on purpose keeps to it."""

from __future__ import annotations

import re

import pytest

from lib.lab import fault_names
from lib.lab.cache import faults
from lib.lab.fault_names import Fault, Repertoire
from tests.doubles import fake_crane, faulty, unsteady
from tests.record_failures import DELETE_FAULTS, DIGEST_FAULTS, PULL_FAULTS

REPERTOIRES = {"cache": faults.REPERTOIRE, "registry": faulty.REPERTOIRE, "client": fake_crane.REPERTOIRE}


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("manifest-404", Fault("404", "manifest")),
        ("manifest-404-html", Fault("404", "manifest", body="html")),
        ("blob-429-after", Fault("429", "blob", after=True)),
        ("manifest-429-json-after", Fault("429", "manifest", body="json", after=True)),
        ("manifest-503-x2", Fault("503", "manifest", first=2)),
        ("manifest-503-hostile-x12", Fault("503", "manifest", first=12, body="hostile")),
        ("manifest-429-after-x2", Fault("429", "manifest", first=2, after=True)),
        ("blob-truncated", Fault("truncated", "blob")),
        ("config-reset-x1", Fault("reset", "config", first=1)),
        ("tls", Fault("tls")),
        ("tls-name", Fault("tls-name")),
    ],
)
def test_names_of_the_faulty_registry(name: str, fault: Fault) -> None:
    assert faulty.REPERTOIRE.parse(name) == fault


@pytest.mark.parametrize(
    "name",
    [
        "", "good", "app", "503", "manifest", "manifest-", "manifest-200", "manifest-600", "manifest-503-",
        "manifest-503-nonsense", "manifest-503-json-json", "manifest-503-x", "manifest-503-xtwo", "manifest-x2",
        "manifest-reset-after", "manifest-reset-json", "manifest-503:10%", "manifest-503:2x", "tag-404", "tls-x1",
        "manifest-tls", "Manifest-404", "manifest-404 ", "manifest-404-json-x2-after",
    ],
)  # fmt: skip
def test_what_is_no_name_of_the_faulty_registry(name: str) -> None:
    with pytest.raises(ValueError, match="is not a fault; use PLACE-KIND"):
        faulty.REPERTOIRE.parse(name)


def test_a_number_of_times_has_a_limit() -> None:
    for digits in (9, 10, 5000):
        for repertoire, name in (
            (faulty.REPERTOIRE, f"manifest-503-x{'9' * digits}"),
            (faults.REPERTOIRE, f"503:{'9' * digits}x"),
        ):
            if digits == 9:
                assert repertoire.parse(name).first == 999_999_999
                continue
            with pytest.raises(ValueError, match="is too large; use one of at most 9 digits"):
                repertoire.parse(name)


@pytest.mark.parametrize(
    "name", ["manifest-503-x2", "manifest-503-after", "manifest-503-json", "ping-503", "close"]
)
def test_the_cache_takes_nothing_that_is_the_faulty_registrys_alone(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a fault; use \[manifest-\|blob-\]NAME"):
        faults.REPERTOIRE.parse(name)


def test_every_recorded_fault_has_a_name_of_the_grammar() -> None:
    for name in {*PULL_FAULTS, *DELETE_FAULTS, *DIGEST_FAULTS}:
        faulty.plan(faulty.REPERTOIRE.parse(name))


def test_the_troubles_of_the_unsteady_cache_are_faults_of_the_cache() -> None:
    for option in (*unsteady.FAILING, *unsteady.BREAKING):
        assert faults.REPERTOIRE.parse(option.removeprefix("--fault=")).place in ("manifest", "blob")


def test_a_list_of_images_for_the_fake_client_names_its_faults() -> None:
    assert fake_crane.REPERTOIRE.parse("hang") == Fault("hang")
    with pytest.raises(ValueError, match="'hangs' is not a fault; use one of ok, slow"):
        fake_crane.REPERTOIRE.parse("hangs")


@pytest.mark.parametrize("kind", REPERTOIRES)
def test_the_table_describes_every_word(kind: str) -> None:
    table = [line for line in (fault_names.__doc__ or "").splitlines() if line.startswith("|")]
    described = set(re.findall(r"[a-z][a-z-]*", " ".join(line.split("|")[2] for line in table)))
    known: Repertoire = REPERTOIRES[kind]
    assert {*known.places, *known.kinds, *known.alone, *known.bodies} <= described
