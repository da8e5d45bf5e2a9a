"""`ocidriver compare`: like with like, intervals that cover, verdicts that hold, and what a pipeline sees."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.bootstrap import draws, spread
from lib.compare.pairing import cut, fill
from lib.compare.quantities import Quantity, compare
from lib.compare.recorded_run import read_run
from lib.compare.settings_changed import differences
from lib.compare.thresholds import judge, parse_limit
from lib.errors import UsageError
from lib.options.thresholds import Threshold
from tests.support.driving import command
from tests.support.made import Made


def compared(folder: Path, a: Made, b: Made, *, events: bool = False, seed: int = 1) -> dict[str, Quantity]:
    runs = [
        read_run(made.write(folder, name), made.write_events(folder, name) if events else None)
        for name, made in (("a", a), ("b", b))
    ]
    return {each.name: each for each in compare(*runs, seed=seed, margin=0.02).quantities}


@pytest.mark.parametrize("events", [False, True])
def test_equal_runs_are_noise(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 100), events=events) for n in range(10)]
    for name in ("rate", "mean", "p50", "p90", "p95", "error_rate"):
        assert sum(pair[name].verdict == "noise" for pair in pairs) >= 9, name


@pytest.mark.parametrize("events", [False, True])
def test_a_fifth_slower_is_slower_and_the_other_way_round_faster(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 100, ms=480.0), events=events) for n in range(10)]
    back = [compared(tmp_path, Made(n + 100, ms=480.0), Made(n), events=events) for n in range(10)]
    for name in ("rate", "mean", "p50"):
        assert sum(pair[name].verdict == "slower" for pair in pairs) >= 9, name
        assert sum(pair[name].verdict == "faster" for pair in back) >= 9, name


@pytest.mark.parametrize("events", [False, True])
def test_the_intervals_cover_the_true_change(tmp_path: Path, events: bool) -> None:
    pairs = [compared(tmp_path, Made(n), Made(n + 500, ms=440.0), events=events) for n in range(30)]
    for name, true in (("mean", 0.1), ("p50", 0.1), ("p95", 0.1), ("rate", 1 / 1.1 - 1)):
        covered = sum((q.low or 0) <= true <= (q.high or 0) for q in (pair[name] for pair in pairs))
        assert covered >= 26, name
        assert all((q.low or 0) <= (q.change or 0) <= (q.high or 0) for q in (pair[name] for pair in pairs))


def test_the_figures_are_those_of_the_summaries(tmp_path: Path) -> None:
    a, b = Made(1), Made(2, ms=500.0)
    found = compared(tmp_path, a, b)
    assert (found["rate"].a, found["rate"].b) == (a.document["rate"], b.document["rate"])
    assert found["p95"].a == a.document["latency_ms"]["p95"]
    assert found["first.p50"].b == b.document["first_latency_ms"]["p50"]
    change = b.document["rate"] / a.document["rate"] - 1
    assert found["rate"].change == pytest.approx(change)


def test_the_ramp_is_not_taken_for_noise(tmp_path: Path) -> None:
    """Rates from 1 to 8 workers differ eightfold; the interval is far narrower."""
    found = compared(tmp_path, Made(1, workers=8), Made(2, workers=8))["rate"]
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low < 0.1


def test_first_and_repeat_need_events_for_an_interval(tmp_path: Path) -> None:
    without = compared(tmp_path, Made(1), Made(2, ms=800.0))
    assert (without["repeat.p50"].verdict, without["repeat.p50"].low) == (None, None)
    with_events = compared(tmp_path, Made(1), Made(2, ms=800.0), events=True)
    assert with_events["repeat.p50"].verdict == "slower"
    assert with_events["first.p50"].verdict == "slower"


def test_events_fall_into_the_bins_that_the_intervals_say(tmp_path: Path) -> None:
    a, b = Made(1, workers=3, tally=2.5, failing=0.2), Made(2, workers=3, tally=2.5)
    path, other = a.write(tmp_path, "a"), b.write(tmp_path, "b")
    by_events = read_run(path, a.write_events(tmp_path, "a"))
    by_intervals = read_run(path)
    place, _ = cut(by_intervals, read_run(other))
    one, two = fill(by_intervals, place), fill(by_events, place)
    assert one.pulled.sum() == pytest.approx(a.document["pulled"])
    assert one.pulled.tolist() == pytest.approx(two.pulled.tolist())
    assert one.every.total.tolist() == pytest.approx(two.every.total.tolist())
    assert one.failed.tolist() == pytest.approx(two.failed.tolist())
    assert one.every.histogram.sum() == pytest.approx(two.every.histogram.sum())


def test_an_interrupted_run_is_compared_as_far_as_it_went(tmp_path: Path) -> None:
    """The whole run's rate has the peak in it, the interrupted one's has not."""
    whole, short = Made(1, workers=4), Made(2, workers=4, until=35.0)
    found = compared(tmp_path, whole, short)
    assert whole.document["rate"] > 1.5 * short.document["rate"]
    assert found["rate"].verdict == "noise"
    assert found["rate"].change == pytest.approx(0, abs=0.15)
    assert found["p95"].verdict == "noise"
    slow = compared(tmp_path, whole, Made(3, workers=4, until=60.0, ms=560.0))
    assert slow["rate"].verdict == "slower"
    assert slow["p50"].verdict == "slower"


@pytest.mark.parametrize(
    "other", [{"step": 30.0}, {"workers": 3}, {"tally": 3.0}, {"step": 30.0, "tally": 7.0}]
)
def test_other_ramps_are_compared_where_they_are_alike(tmp_path: Path, other: dict[str, Any]) -> None:
    for events in (False, True):
        noise = [
            compared(tmp_path, Made(n), Made(n + 10, **other), events=events)["rate"].verdict
            for n in range(10)
        ]
        assert noise.count("noise") >= 9
    assert compared(tmp_path, Made(1), Made(2, ms=600.0, **other))["rate"].verdict == "slower"


def by_schedule(made: Made) -> Made:
    """As with `--rate`: all steps have all workers, while the rate changes."""
    made.document["settings"]["rate"] = "10:200"
    for step in made.document["steps"]:
        step.update(workers=4, direction="up")
    return made


@pytest.mark.parametrize("events", [False, True])
def test_steps_by_a_schedule_are_paired_in_their_order(tmp_path: Path, events: bool) -> None:
    whole, short = by_schedule(Made(1, workers=4)), by_schedule(Made(2, workers=4, until=75.0))
    found = compared(tmp_path, whole, short, events=events)
    assert found["rate"].verdict == "noise"
    assert found["rate"].change == pytest.approx(0, abs=0.1)
    same = compared(tmp_path, whole, by_schedule(Made(3, workers=4)), events=events)
    assert same["rate"].low is not None
    assert same["rate"].high is not None
    assert same["rate"].high - same["rate"].low < 0.1


def test_schedules_that_rise_in_other_steps_are_not_paired(tmp_path: Path) -> None:
    """The half of a step is not like the whole of another."""
    fast, slow = by_schedule(Made(1, workers=4)), by_schedule(Made(2, workers=4, step=40.0))
    assert compared(tmp_path, fast, slow)["rate"].verdict is None
    for made in (fast, slow):
        made.document["settings"]["rate"] = "50"  # which is the same everywhere
    assert compared(tmp_path, fast, slow)["rate"].verdict is not None


def test_images_that_shared_a_launch_have_one_latency(tmp_path: Path) -> None:
    runs = []
    for name, made in (("a", Made(1)), ("b", Made(2))):
        path = made.write_events(tmp_path, name)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        others = [{**line, "seconds": 9.0, "timed": False} for line in lines if line["op"] == "pull"]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines + others))
        made.document["pulled"] *= 2
        made.document["rate"] *= 2
        runs.append(read_run(made.write(tmp_path, name), path))
    place, _ = cut(*runs)
    bins = fill(runs[0], place)
    assert bins.pulled.sum() == runs[0].summary.pulled
    assert bins.every.counted.sum() == runs[0].summary.pulled / 2
    assert bins.every.total.sum() / bins.every.counted.sum() < 1000
    assert bins.first is not None
    assert bins.repeat is not None
    assert bins.first.counted.sum() + bins.repeat.counted.sum() == bins.every.counted.sum()


def test_no_step_in_common(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    a, b = Made(1), Made(2)
    for step in b.document["steps"]:
        step["workers"] += 10
    status, told, _ = shown(capfd, a.write(tmp_path, "a"), b.write(tmp_path, "b"))
    assert status == 0
    assert "unknown, too little data" in told
    assert "only 0 intervals can be paired" in told
    events = ("--events", a.write_events(tmp_path, "a"), "--events", b.write_events(tmp_path, "b"))
    assert shown(capfd, tmp_path / "a.json", tmp_path / "b.json", *events)[0] == 0


def test_errors(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(1, failing=0.01), Made(2, failing=0.2))
    assert found["error_rate"].verdict == "slower"
    assert found["errors.timeout"].verdict == "slower"
    assert found["error_rate"].change == pytest.approx(
        (found["error_rate"].b or 0) - (found["error_rate"].a or 0)
    )
    few = compared(tmp_path, Made(1), Made(2, failing=0.005))
    assert few["error_rate"].verdict == "noise"
    assert compared(tmp_path, Made(2, failing=0.2), Made(1))["error_rate"].verdict == "faster"


def test_two_runs_of_one_failed_pull_each_are_noise(tmp_path: Path) -> None:
    a = Made(1)
    a.document["failed"], a.document["errors"] = 1, {"other": 1}
    found = compared(tmp_path, Made(2), a)["errors.other"]
    assert found.verdict == "noise"


def test_too_few_intervals_give_no_verdict(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [Made(n, tally=20.0).write(tmp_path, str(n)) for n in (1, 2)]
    status, told, _ = shown(capfd, *files)
    assert status == 0
    assert "only 4 intervals can be paired, too few" in told
    assert "unknown, too little data" in told
    events = [Made(n, tally=20.0).write_events(tmp_path, str(n)) for n in (1, 2)]
    words = [word for path in events for word in ("--events", path)]
    assert "noise" in shown(capfd, *files, *words)[1]


def test_a_run_without_samples(tmp_path: Path) -> None:
    a, b = Made(1), Made(2)
    b.document["samples"] = []
    found = compared(tmp_path, a, b)
    assert found["rate"].verdict is None
    assert found["rate"].change is not None


def test_missing_latencies(tmp_path: Path) -> None:
    a, b = Made(1), Made(2)
    b.document["repeat_latency_ms"] = None
    for made in (a, b):
        made.document["samples"][3].update(pulled=0, latency_ms=None)
    found = compared(tmp_path, a, b)
    assert found["repeat.p50"].b is None
    assert found["repeat.p50"].change is None
    assert found["rate"].verdict == "noise"


def test_the_spread_is_the_same_for_a_seed_only() -> None:
    assert (draws(40, 1) == draws(40, 1)).all()
    assert (draws(40, 1) != draws(40, 2)).any()
    assert draws(40, 1).sum(axis=1).tolist() == [40.0] * 1001
    assert spread(draws(40, 1).sum(axis=1), 40) == (0.0, 0.0)


def test_differences_of_settings(tmp_path: Path) -> None:
    a, b = Made(1), Made(2, prune=True, shuffle=True, summary_file="b.json")
    b.document["client"]["version"] = "0.23.0"
    b.document["images"] = 19
    runs = [read_run(made.write(tmp_path, name)) for name, made in (("a", a), ("b", b))]
    assert [(each.option, each.a, each.b) for each in differences(*runs)] == [
        ("--prune", False, True),
        ("--shuffle", None, True),
        ("client", "crane 0.22.1", "crane 0.23.0"),
        ("images", 20, 19),
    ]


def shown(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """(exit status, stdout, stderr)."""
    status = main(["compare", *(str(word) for word in words)])
    out, err = capfd.readouterr()
    return status, out, err


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs, the second a quarter slower."""
    return Made(1).write(tmp_path, "a"), Made(2, ms=500.0).write(tmp_path, "b")


def test_json(capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path]) -> None:
    status, out, err = shown(capfd, *pair, "--format=json")
    assert (status, err) == (0, "")
    (told,) = json.loads(out)["comparisons"]
    assert told["verdict"] == "slower"
    assert {"rate", "mean", "p50", "p99", "first.p95", "repeat.mean", "error_rate"} <= set(told["quantities"])
    for quantity in told["quantities"].values():
        assert list(quantity) == ["a", "b", "change", "low", "high", "verdict"]
        assert quantity["verdict"] in ("faster", "slower", "noise", None)
    again = shown(capfd, *pair, "--format=json")[1]
    assert again == out
    assert shown(capfd, *pair, "--format=json", "--seed=7")[1] != out


def test_text(capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path]) -> None:
    status, out, err = shown(capfd, *pair)
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines() if line}
    assert rows["rate"].endswith("slower")
    assert rows["error_rate"].endswith("noise")
    assert out.splitlines()[-1].startswith(f"{pair[1]} against {pair[0]}: slower (rate -")


def test_markdown_of_hostile_names(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    a, b = Made(1, filter="x"), Made(2, filter="<img src=x>|`\x1b[31m\n# h")
    b.document["errors"] = {"<b>|": 3}
    status, out, _ = shown(capfd, a.write(tmp_path, "a"), b.write(tmp_path, "b"), "--format=markdown")
    assert status == 0
    assert "\x1b" not in out
    assert "\\<img src=x\\>\\|\\`" in out
    table = [line for line in out.splitlines() if line.startswith("|")]
    assert table[1] == "| --- | --: | --: | --: | --: | --- |"
    assert {line.replace("\\|", "").count("|") for line in table} == {7}


def test_more_than_two_are_each_compared_with_the_first(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    third = Made(3).write(tmp_path, "c")
    told = json.loads(shown(capfd, *pair, third, "--format=json")[1])["comparisons"]
    assert [(each["a"], each["b"], each["verdict"]) for each in told] == [
        (str(pair[0]), str(pair[1]), "slower"),
        (str(pair[0]), str(third), "noise"),
    ]


@pytest.mark.parametrize(
    ("expressions", "status"),
    [
        (["rate>-5%"], 3),
        (["p50<+10%"], 3),
        (["rate>-50%", "p95<100%", "error_rate<+1%", "errors.timeout<=0%"], 0),
        (["rate>-50%", "mean<10%"], 3),
        (["repeat.p50<10%"], 3),
    ],
)
def test_thresholds(
    capfd: pytest.CaptureFixture[str], pair: tuple[Path, Path], expressions: list[str], status: int
) -> None:
    found, out, err = shown(capfd, *pair, *(f"--threshold={text}" for text in expressions))
    assert found == status
    assert err.startswith("ocidriver: threshold missed: ") if status else err == ""
    assert out.count("\nthreshold ") == len(expressions)


def quantity(change: float | None, verdict: str | None) -> Quantity:
    return Quantity("rate", 10.0, 9.0, change, None, None, verdict)


@pytest.mark.parametrize(
    ("found", "passed", "within"),
    [
        (quantity(-0.04, "slower"), True, True),
        (quantity(-0.06, "slower"), False, False),
        (quantity(-0.06, "noise"), True, False),
        (quantity(-0.06, None), False, False),
        (quantity(None, None), False, False),
    ],
)
def test_a_change_that_is_noise_fails_no_pipeline(found: Quantity, passed: bool, within: bool) -> None:
    judged = judge(parse_limit("rate > -5 %"), [found])
    assert (judged.passed, judged.within) == (passed, within)


def test_limits_are_read() -> None:
    assert parse_limit(" error_rate<=+1.5% ") == Threshold("error_rate<=+1.5%", "error_rate", "<=", 0.015)


@pytest.mark.parametrize(
    "text",
    ["", "rate", "rate>5", "rate>-5ms", "speed>-5%", "errors.nothing<1%", "rate==0%", "max<5%", "p95<+-5%"],
)
def test_limits_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="--threshold: "):
        parse_limit(text)


def broken(document: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    changed[name] = value
    return changed


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {each: value for each, value in document.items() if each != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\x00", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a summary"),
        (b"{}", "not a summary"),
        (b'{"schema": 2}', "has schema 2, but this ocidriver reads schema 1"),
        (b'{"schema": 1}', "not a valid summary"),
        (json.dumps(broken(Made().document, "samples", [{}])).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "rate", None)).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "latency_ms", {"p50": "x"})).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "settings", [])).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "client", 5)).encode(), "not a valid summary"),
        (json.dumps(broken(Made().document, "rate", float("nan"))).encode(), "not JSON"),
        (json.dumps(broken(Made().document, "rate", -1.0)).encode(), "not a valid summary"),
        *(
            (json.dumps(without(Made().document, name)).encode(), "not a valid summary")
            for name in ("limited_by", "latency_ms", "client", "error_rate", "images")
        ),
    ],
)
def test_wrong_files(capfd: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, message: str) -> None:
    good, bad = Made(1).write(tmp_path, "a"), tmp_path / "bad.json"
    bad.write_bytes(content)
    for files in ((good, bad), (bad, good)):
        status, out, err = shown(capfd, *files)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert message in err
        assert "bad.json" in err


def test_wrong_usage(capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]) -> None:
    events = Made(1).write_events(tmp_path, "a")
    missing = tmp_path / "missing"
    for words, message in (
        ([], "at least two"),
        ([pair[0]], "at least two"),
        ([*pair, "--events", events], "1 --events for 2 summaries"),
        ([*pair, "--events", events, "--events", events], "does not have the"),
        ([*pair, "--events", pair[0], "--events", events], "not an events file"),
        ([*pair, "--events", missing, "--events", events], "cannot read"),
        ([pair[0], missing], "cannot read"),
        ([pair[0], tmp_path], "cannot read"),
        ([*pair, "--threshold=rate"], "--threshold: cannot read"),
        ([*pair, "--format=html"], "--format"),
    ):
        status, out, err = shown(capfd, *words)
        assert (status, out, err.count("\n")) == (2, "", 1), words
        assert message in err


@pytest.mark.parametrize("seconds", ["1", True, -1.0, float("nan"), 10**400])
def test_events_whose_seconds_are_no_number(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path], seconds: object
) -> None:
    events, bad = Made(1).write_events(tmp_path, "a"), tmp_path / "bad.jsonl"
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    lines[0]["seconds"] = seconds
    bad.write_text("\n".join(map(json.dumps, lines)))
    status, out, err = shown(capfd, *pair, "--events", bad, "--events", events)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "not an events file" in err


def test_a_run_that_pulled_nothing(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    """What there is of it is told all the same: its failures."""
    empty = Made(1, failing=1.1).write(tmp_path, "empty")
    status, out, err = shown(capfd, pair[0], empty, "--format=json", "--threshold=rate>-5%")
    assert (status, err.count("\n")) == (1, 1)
    assert f"{empty}: this run pulled nothing" in err
    (told,) = json.loads(out)["comparisons"]
    assert f"{empty} pulled nothing" in told["notes"]
    assert (told["quantities"]["rate"]["change"], told["quantities"]["rate"]["verdict"]) == (-1.0, None)
    assert told["quantities"]["p95"]["b"] is None
    assert told["quantities"]["error_rate"]["verdict"] == "slower"
    assert not told["thresholds"][0]["passed"]
    assert shown(capfd, empty, pair[1])[0] == 1


def test_a_run_in_which_no_pull_ended(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    made = Made(1)
    made.document.update(
        pulled=0, failed=0, rate=0.0, errors={}, steps=[], samples=[],
        latency_ms=None, first_latency_ms=None, repeat_latency_ms=None,
    )  # fmt: skip
    status, out, _ = shown(capfd, made.write(tmp_path, "none"), pair[1], "--format=json")
    (told,) = json.loads(out)["comparisons"]
    assert status == 1
    assert {each["change"] for each in told["quantities"].values()} == {None}
    assert "error_rate" in told["quantities"]


def test_interrupted_and_client_limited_runs_are_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, pair: tuple[Path, Path]
) -> None:
    made = Made(1, until=50.0)
    made.document["limited_by"] = "client"
    out = shown(capfd, pair[0], made.write(tmp_path, "b"))[1]
    assert "b.json was interrupted" in out
    assert "b.json was limited by its client" in out
    assert "the loads differ: rate and latencies cover only the 50 seconds" in out


def test_a_terminal_without_unicode(tmp_path: Path) -> None:
    files = [Made(n, filter="gr\u00fcn" * n).write(tmp_path, str(n)) for n in (1, 2)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    words = command("compare", *map(str, files))
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--filter differs: a gr?n, b gr?ngr?n" in done.stdout
