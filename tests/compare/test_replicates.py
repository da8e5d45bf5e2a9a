"""`compare --a … --b …`: runs are the unit."""

from __future__ import annotations

import json
import random
import re
from math import exp, log1p
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.comparison import Rules, compare
from lib.compare.quantities import Quantity
from lib.compare.recorded_run import Recorded
from lib.compare.replicates import welch
from lib.compare.thresholds import judge, parse_limit
from tests.support.browser import charts_in, own
from tests.support.held import held, run, write
from tests.support.made import latency

LOGS = ((0.0, 0.03, -0.03), (0.01, 0.04, -0.02))


def with_rate(log_rate: float) -> dict[str, Any]:
    return {**held([200] * 8, ms=400 * exp(-log_rate)), "rate": 10 * exp(log_rate)}


def groups(logs: Any = LOGS) -> list[tuple[Any, ...]]:
    return [
        tuple(run(with_rate(each), f"{side}{each}") for each in part)
        for side, part in zip("ab", logs, strict=True)
    ]


def compared(a: tuple[Any, ...], b: tuple[Any, ...]) -> dict[str, Quantity]:
    return {each.name: each for each in compare(a, b, Rules()).quantities}


def test_the_interval_comes_from_the_log_means_of_the_runs() -> None:
    assert welch(*LOGS) == pytest.approx(0.068, abs=5e-5)
    found = compared(*groups())["rate"]
    assert found.change == pytest.approx(exp(0.01) - 1)
    assert found.low == pytest.approx(exp(0.01 - 0.068) - 1, abs=1e-4)
    assert found.high == pytest.approx(exp(0.01 + 0.068) - 1, abs=1e-4)
    assert found.verdict == "inconclusive"
    assert found.a == pytest.approx(10)
    assert found.b == pytest.approx(10 * exp(0.01))
    assert compared(*groups())["p50"].change == pytest.approx(exp(-0.01) - 1)


def test_a_difference_well_beyond_the_spread_of_the_runs_is_one() -> None:
    found = compared(*groups(((0, 0.01, -0.01), (-0.3, -0.31, -0.29))))
    assert {found[name].verdict for name in ("rate", "mean", "p50", "p95")} == {"slower"}
    same = compared(*groups(((0, 0.001, -0.001), (0.001, 0.002, 0.0))))
    assert same["rate"].verdict == "same"


def test_welch_has_the_degrees_of_freedom_of_unequal_variances() -> None:
    """Satterthwaite's: between those of the noisier side and those of both."""
    a, b = (-1.0, 1.0, 0.5, -0.5), (-10.0, 0.0, 10.0)
    parts = (2.5 / 3 / 4, 100 / 3)
    free = sum(parts) ** 2 / (parts[0] ** 2 / 3 + parts[1] ** 2 / 2)
    assert free == pytest.approx(2.025, abs=5e-4)
    assert welch(a, b) / sum(parts) ** 0.5 == pytest.approx(4.252, abs=1e-3)


def test_errors_and_retries_are_compared_by_their_means() -> None:
    a = tuple(run({**held([95] * 8, {"dns": [5] * 8}), "retried": 80}, name) for name in "pq")
    b = tuple(run({**held([100 - k] * 8, {"dns": [k] * 8}), "retried": 8 * k}, f"{k}") for k in (10, 20, 30))
    found = compared(a, b)
    for name in ("error_rate", "errors.dns"):
        assert found[name].change == pytest.approx(0.15)
        assert found[name].high == pytest.approx(0.15 + 4.30265 * 0.1 / 3**0.5)
    assert found["retry_rate"].change == pytest.approx(0.1)


def test_runs_without_failures_do_not_have_a_sure_error_rate() -> None:
    few, many = (
        tuple(run(held([n] * 8), f"{side}{k}") for k in range(6)) for side, n in (("a", 2), ("b", 2))
    )
    assert compared(few, many)["error_rate"].verdict == "inconclusive"
    few, many = (tuple(run(held([900] * 8), f"{side}{k}") for k in range(6)) for side in "ab")
    assert compared(few, many)["error_rate"].verdict == "same"


def test_a_run_with_another_ramp_is_named(tmp_path: Path) -> None:
    a, b = groups()
    short = run({**with_rate(0.0), "interrupted": True}, "short.json")
    found = compare(a, (*b, short), Rules())
    assert any("short.json did not complete the load" in note for note in found.notes)
    assert "short.json was interrupted" in found.notes
    assert found.quantities[0].low is None


def test_the_advice_is_the_number_of_runs_that_decides() -> None:
    """The interval of two runs is wide because there are two: t falls with their number, not only the error."""
    gate = parse_limit("rate>-5%")
    a, b = (0.03 / 2**0.5, -0.03 / 2**0.5), (0.03 / 2**0.5, -0.03 / 2**0.5)
    judged = judge(gate, [compared(*groups((a, b)))["rate"]])
    assert judged.verdict == "inconclusive"
    spread = 0.03 * (2 / 5) ** 0.5, 0.03 * (2 / 4) ** 0.5
    assert 2.306 * spread[0] < -log1p(-0.05) < 2.447 * spread[1]
    assert judged.longer == 5 / 2


def test_an_interval_without_end_is_inconclusive() -> None:
    rates = [held([200] * 8, rate=each) for each in (100, 0.1, 100, 100.5)]
    a1, a2, b1, b2 = (run(document, f"{k}") for k, document in enumerate(rates))
    for a, b in (((a1, a2), (b1, b2)), ((b1, b2), (a1, a2))):
        found = compared(a, b)["rate"]
        judged = judge(parse_limit("rate>-5%"), [found])
        assert judged.verdict == "inconclusive"
        assert judged.longer is not None
        assert judged.longer > 2
        assert found.low is not None
        assert -1 < found.low < found.high < float("inf")  # type: ignore[operator]
        assert judge(parse_limit("rate>-100%"), [found]).verdict == "met"


def test_a_version_that_pulls_nothing_in_one_run_has_lost_all() -> None:
    (a, b), dead = groups(), run({**with_rate(0.0), "rate": 0.0}, "dead")
    judged = judge(parse_limit("rate>-5%"), [compared(a, (*b, dead))["rate"]], lenient=True)
    assert (judged.verdict, judged.value, judged.passed) == ("missed", -1.0, False)
    judged = judge(parse_limit("rate>-5%"), [compared((*a, dead), b)["rate"]])
    assert judged.verdict == "inconclusive"
    assert judged.quantity is not None
    assert judged.quantity.why == "a run pulled nothing before its planned end"


def drained(seed: int, hung: int, *, ordinary: int = 0) -> Recorded:
    """A run of 1,000 pulls of about 400 ms, and of pulls that ended after its planned end. `hung` took 30 s."""
    chance = random.Random(seed)
    parts = [[400 * chance.lognormvariate(0, 0.3) for _ in range(50)] for _ in range(20)]
    inside = [each for part in parts for each in part]
    late = [30_000.0] * hung + [400.0] * ordinary
    document = held([50] * 20)
    counted = [{"count": len(each), **(latency(each) or {})} for each in (inside + late, *parts)]
    document.update(
        pulled=1000 + len(late),
        latency_ms=counted[0],
        first_latency_ms=latency(inside[:200]),
        repeat_latency_ms=counted[0],
    )
    document["first_latency_ms"]["count"] = 200
    for sample, each in zip(document["samples"], counted[1:], strict=True):
        sample["latency_ms"] = each
    if late:
        document["drain"] = {"seconds": 30, "pulled": len(late), "failed": 0}
    return run(document, f"{seed}.json")


def test_pulls_that_hang_past_the_end_do_not_count() -> None:
    a = tuple(drained(seed, 0) for seed in (1, 2))
    b = tuple(drained(seed, 3) for seed in (3, 4))
    told = compare(a, b, Rules())
    found = {each.name: each for each in told.quantities}
    for name in ("mean", "p50", "p90", "p95"):
        assert abs(found[name].change or 1.0) < 0.06, name
        assert found[name].verdict in ("same", "inconclusive"), name
        assert found[name].low is not None
    assert found["p99"].low is not None
    assert found["repeat.mean"].low is None
    assert found["repeat.mean"].why == "pulls that hung past the planned end are in it"
    assert found["repeat.p50"].low is not None
    assert found["mean"].b == pytest.approx(418, abs=12)
    assert found["first.mean"].low is not None
    assert [note for note in told.notes if "ended after" in note] == [
        "3.json and 4.json: 6 pulls ended after the planned end, so rate and mean latency cover the planned time only"
    ]


def test_a_drain_of_usual_pulls_leaves_first_and_repeat_latencies_as_they_are() -> None:
    a, b = (tuple(drained(seed, 0, ordinary=8) for seed in seeds) for seeds in ((1, 2), (3, 4)))
    found = compared(a, b)
    assert found["mean"].low is not None
    assert found["repeat.mean"].low is not None
    assert found["repeat.mean"].a == pytest.approx(found["mean"].a, rel=0.01)


def shown(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    status = main(["compare", *map(str, words)])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        f"{side}{k}": write(tmp_path, f"{side}{k}", with_rate(each))
        for side, part in zip("ab", LOGS, strict=True)
        for k, each in enumerate(part)
    }


@pytest.mark.parametrize(
    "line",
    [
        "--a a0 a1 a2 --b b0 b1 b2 --format json",
        "--a a0 --a a1 --a a2 --b b0 --b b1 --b b2 --format=json",
        "--format json --b=b0 b1 b2 --margin 2 --a a0 a1 --seed=1 --a a2",
        "--threshold rate>-50% --a a0 a1 a2 --format json --b b0 b1 --b=b2",
    ],
)
def test_the_ways_to_name_the_runs(
    capfd: pytest.CaptureFixture[str], files: dict[str, Path], line: str
) -> None:
    words = [word for each in line.split() for word in each.replace("=b", "= b").split(" ")]
    placed = [str(files.get(word, word)) for word in words]
    status, out, err = shown(capfd, *" ".join(placed).replace("= ", "=").split(" "))
    assert (status, err) == (0, "")
    (told,) = json.loads(out)["comparisons"]
    assert (told["a"], told["b"]) == tuple([str(files[f"{side}{k}"]) for k in range(3)] for side in "ab")
    assert told["verdict"] == "inconclusive"
    assert told["quantities"]["rate"]["change"] == pytest.approx(exp(0.01) - 1)
    assert not [note for note in told["notes"] if "two versions" in note]


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_two_runs_are_not_two_versions(
    capfd: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path, form: str
) -> None:
    page = tmp_path / "page.html"
    for words in ((files["a0"], files["b0"]), ("--a", files["a0"], "--b", files["b0"])):
        out = shown(capfd, *words, f"--format={form}", f"--report-file={page}")[1]
        assert "his compares two runs, not two versions: repeat each version" in out.replace("\\", "")
        assert "This compares two runs, not two versions" in page.read_text()
    if form == "json":
        assert json.loads(out)["comparisons"][0]["a"] == [str(files["a0"])]


def test_the_text_and_the_page_of_groups(
    capfd: pytest.CaptureFixture[str], files: dict[str, Path], tmp_path: Path
) -> None:
    words = ["--a", *(files[f"a{k}"] for k in range(3)), "--b", *(files[f"b{k}"] for k in range(3))]
    page = tmp_path / "page.html"
    status, out, err = shown(capfd, *words, "--threshold=rate>-3%", f"--report-file={page}")
    assert status == 3
    assert re.findall(r"^([AB]\d)  ", out, re.M) == ["A1", "A2", "A3", "B1", "B2", "B3"]
    assert out.splitlines()[0].startswith(
        "The runs do not show whether B is faster or slower than A: the rate of B is between "
    )
    assert re.search(r"\(to tell, it takes about \d+ times as many runs\); ", out.splitlines()[0])
    drawn = charts_in(own(page.read_text()))["runs"]["data"]
    assert [trace["x"] for trace in drawn] == [["A1", "A2", "A3"]] * 2 + [["B1", "B2", "B3"]] * 2
    assert "it takes about 2.3 times as many runs" in out
    assert "it takes about 2.3 times as many runs" in err
    for told in ("B against A: inconclusive (rate +1.0 %)", "The runs are the unit.", "<td>A1", "<td>B3"):
        assert told in page.read_text() or told.replace("<td>", '<td class="s">') in page.read_text(), told


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--a a0 a1", "--b is missing; give the runs of both versions"),
        ("--b a0 a1", "--a is missing"),
        ("--a a0 --b b0 b1", "--a has 1 run and --b has 2 runs; give at least two for each, or one for each"),
        ("--a a0 a1 --b b0", "--a has 2 runs and --b has 1 run"),
        ("a0 --a a1 a2 --b b0 b1", "is neither in --a nor in --b; give each file in one of them"),
        ("--a a0 a1 --b b0 b1 -- b2", "is neither in --a nor in --b"),
        ("--a a0 a0 --b b0 b1", "is given twice; each run counts once"),
        ("--a a0 a1 --b b0 a1", "is given twice"),
        ("--a a0 a1 --b b0 b1 --events a0", "--events is for two single runs"),
        ("--a a0 --b b0 --events a1", "1 --events for 2 summaries"),
        ("--b a0 a1 --a", "'--a'"),
    ],
)
def test_wrong_usage(
    capfd: pytest.CaptureFixture[str], files: dict[str, Path], line: str, message: str
) -> None:
    status, out, err = shown(capfd, *(files.get(word, word) for word in line.split()))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
