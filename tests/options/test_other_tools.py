"""Options of k6, vegeta, oha, hey, wrk and ab: one line names the option of ours, and the status is 2."""

from __future__ import annotations

import pytest

from lib.cli import main
from lib.errors import ExitStatus
from lib.options.definitions import OPTIONS
from lib.options.other_tools import _ADVICE

OURS = [
    (["--vus", "20"], "--workers N"),
    (["-u", "20"], "--workers N"),
    (["-c", "20"], "--workers N"),
    (["-c=20"], "--workers N"),
    (["-c20"], "--workers N"),
    (["--concurrency=20"], "--workers N"),
    (["--connections", "20"], "--workers N"),
    (["-workers=20"], "--workers N"),
    (["-n", "100"], "--passes N"),
    (["--requests=100"], "--passes N"),
    (["--iterations", "100"], "--passes N"),
    (["-d", "30s"], "--duration S"),
    (["-d30s"], "--duration S"),
    (["-duration=30s"], "--duration S"),
    (["-z", "30s"], "--duration S"),
    (["--time=30"], "--duration S"),
    (["-q", "50"], "--rate R"),
    (["--qps=50"], "--rate R"),
    (["--rps", "50"], "--rate R"),
    (["-rate=50"], "--rate R"),
    (["-s", "30s:20"], "--stage S:N"),
    (["--stages", "30s:20"], "--stage S:N"),
    (["--rampup", "30"], "--iteration-seconds S, or stages with --stage S:N"),
    (["--ramp-up=30"], "--iteration-seconds S, or stages with --stage S:N"),
    (["--timeout", "5s"], "--pull-timeout S"),
    (["-timeout=5s"], "--pull-timeout S"),
    (["-o", "x"], "--summary-file FILE, or --report-file FILE"),
    (["--output=x"], "--summary-file FILE, or --report-file FILE"),
]


@pytest.mark.parametrize("doctor", [[], ["doctor"]])
@pytest.mark.parametrize(("words", "ours"), OURS)
def test_one_line_names_our_option(
    words: list[str], ours: str, doctor: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    options = ["--pullthrough-url", "cache:8080", "--registry-url", "up:5000", *words]
    assert main([*doctor, *options]) == ExitStatus.USAGE
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("ocidriver: there is no option -")
    assert f"give {ours}" in line
    assert line.endswith(f"(see {' '.join(['ocidriver', *doctor])} --help)")


@pytest.mark.parametrize("doctor", [[], ["doctor"]])
@pytest.mark.parametrize(
    "words", [["--username", "bob"], ["--password=x"], ["--creds", "bob:x"], ["--user=bob:x"]]
)
def test_options_with_a_login_lead_to_docker_login(
    words: list[str], doctor: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*doctor, *words]) == ExitStatus.USAGE
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(
        f"ocidriver: there is no option {words[0].partition('=')[0]}; to log in, run docker login"
    )
    assert ":x" not in line


@pytest.mark.parametrize("option", ["--bogus", "-Z"])
def test_other_unknown_options_get_no_advice(option: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([option]) == ExitStatus.USAGE
    assert capfd.readouterr().err == f"ocidriver: No such option '{option}' (see ocidriver --help)\n"


def test_a_value_that_looks_like_an_option_is_a_value(capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["--pullthrough-url", "a", "--registry-url", "b", "--filter", "-c", "--bogus"])
        == ExitStatus.USAGE
    )
    assert "'--bogus'" in capfd.readouterr().err


def test_the_advice_names_our_options_only_and_hides_none_of_them() -> None:
    ours = {name for option in OPTIONS for name in option.opts}
    named = {
        word.strip(",;:") for advice in _ADVICE.values() for word in advice.split() if word.startswith("--")
    }
    assert named <= ours
    assert not ours & set(_ADVICE)
