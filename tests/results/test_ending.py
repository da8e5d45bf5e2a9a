"""The end of a run: every figure in it is the summary's, and there is no claim without data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lib.figures import rate
from lib.results.ending import ending
from lib.results.limit import limit
from lib.results.summary import Summary
from lib.results.summary_file import read_summary
from tests.doubles.fake_crane import install
from tests.support.driving import between_nobody, command
from tests.support.summaries import LATENCY, a_summary
from tests.support.waiting import SECONDS

PEAK = {"rate": 29.66, "low": 28.93, "high": 30.51, "workers": 6, "offered": None, "latency_ms": LATENCY}
STEP = {"workers": 1, "direction": "up", "seconds": 60.0, "pulled": 100, "failed": 0, "rate": 1.7,
        "latency_ms": LATENCY, "low": 1.5, "high": 1.9, "offered": None}  # fmt: skip


def steps(*workers: int, **others: Any) -> list[dict[str, Any]]:
    return [{**STEP, "workers": each, **others} for each in workers]


def texts(of: Summary, **files: str) -> dict[str, str]:
    """The lines by their names."""
    lines = ending(of, files)
    assert 6 <= len(lines) <= 11
    return {line[:11].strip(): line[11:] for line in lines}


def test_all_lines_of_a_ramp() -> None:
    run = a_summary(
        peak=PEAK, knee={"workers": 4.2, "low": 3.81, "high": 4.57}, steps=steps(1, 2, 3, 4, 5, 6), retried=36,
        errors={"refused": 50, "timeout": 23}, failed=73, pulled=2672, error_rate=73 / 2745, rate=24.3,
        first_pulls="cold", precision={"percent": 4.0, "seconds_for_2_percent": 480.0}, load="ramp of 12 steps of 1m",
        interrupted_pulls=0,
        thresholds=[{"expression": "p95<1ms", "value": 43.812, "passed": False, "why": None},
                    {"expression": "rate>1", "value": 24.3, "passed": True, "why": None}],
    )  # fmt: skip
    assert texts(run, summary="s.json", report="r.html") == {
        "tested": "cache:8080 with crane 0.20, ramp of 12 steps of 1m, first pulls cold (3 images)",
        "peak": "29.7 pulls/s (28.9 to 30.5) at 6 workers",
        "knee": "near 4.2 workers (3.81 to 4.57)",
        "latency": "p50 2.04 ms, p95 4 ms, p99 5 ms at the peak",
        "failed": "73 of 2,745 pulls (2.66 %): 50 refused, 23 timeout; 36 retried",
        "limit": "the server, or the network to it: the rate levelled off near 4.2 workers, and this machine's CPU was "
        "at most 50 % busy",
        "average": "24.3 pulls/s over the whole run, ±4 %; ±2 % takes a run of about 8 minutes",
        "thresholds": "p95 was 43.8 ms, must be under 1 ms; 1 met",
        "files": "s.json (summary), r.html (report)",
    }


def test_no_claim_without_data() -> None:
    short = texts(a_summary(steps=steps(1, 2, low=None, high=None), peak=None, retried=None, precision=None))
    assert short["peak"] == "the steps are too short to tell the peak; give a longer --iteration-seconds"
    assert short["knee"] == "unknown: needs 6 different numbers of workers; the run had 2"
    assert short["latency"].endswith(" of all pulls")
    assert "retries unknown" in short["failed"]
    assert "±" not in short["average"]
    none = texts(a_summary(steps=steps(*range(1, 8)), peak=PEAK, knee=None))
    assert none["knee"] == "none found: the rate still grew, or the steps are too short to tell"


def test_a_constant_load_has_a_peak_an_average_and_no_knee() -> None:
    run = a_summary(steps=steps(4, direction="hold"), peak={**PEAK, "workers": 4}, load="constant load")
    shown = texts(run)
    assert "knee" not in shown
    assert shown["average"].startswith(f"{rate(run.rate)} over the whole run")
    assert shown["peak"] == "29.7 pulls/s (28.9 to 30.5) at 4 workers"
    assert "at the peak" not in shown["latency"]


def test_by_a_schedule_the_peak_has_what_was_offered() -> None:
    run = a_summary(steps=steps(4, 4, offered=40.0), peak={**PEAK, "offered": 40.0})
    assert texts(run)["peak"] == "29.7 pulls/s (28.9 to 30.5) of 40 offered, with 6 workers"


def test_the_data_per_second_stand_beside_the_rates_if_they_are_known() -> None:
    """Of a step for the peak, and of the whole run for the average."""
    sizes = {"bytes": 1_000_000_000, "bytes_per_second": 98_765_432.0}
    peak = {**PEAK, "bytes_per_second": 123_456_789.0}
    run = a_summary(peak=peak, steps=steps(1, 2), rate=24.3, **sizes)
    assert texts(run)["peak"] == "29.7 pulls/s (28.9 to 30.5) at 6 workers, 123 MB/s"
    assert texts(run)["average"].startswith("24.3 pulls/s over the whole run, 98.8 MB/s, ±")
    unknown = texts(a_summary(peak=PEAK, steps=steps(1, 2)))
    assert "B/s" not in unknown["peak"] + unknown["average"]


def sample(second: int, pulled: int, failed: int, **errors: int) -> dict[str, Any]:
    base = a_summary().samples[0]
    return {
        "time": f"2026-01-31T12:{3 + second // 60:02}:{second % 60:02}.000+00:00", "seconds": 10.0, "pulled": pulled,
        "failed": failed, "rate": pulled / 10, "workers": 3, "errors": errors, "latency_ms": None, "retried": 0,
        "machine": {"idle": base.machine.idle if base.machine else 1.0, "steal": 0.0},
    }  # fmt: skip


OUT = [
    sample(10, 100, 0), sample(20, 0, 40, refused=40), sample(30, 0, 0), sample(40, 0, 63, timeout=30, refused=33),
    sample(50, 60, 4, reset=4), sample(60, 100, 0),
]  # fmt: skip


def test_an_outage_is_named_as_one() -> None:
    run = a_summary(samples=OUT, late_no_worker=500, unstarted=100, limited_by="client")
    assert limit(run) == (
        "From 12:03:10 to 12:03:40 no pull succeeded: refused (73), timeout (30); recovered 20 s later; "
        "outside the outage, 8.67 pulls/s"
    )


def near(share: float) -> dict[str, Any]:
    """What calibrate found, of which the run came to this share."""
    return {
        "rate": 100.0, "batch": 1, "workers": 4, "layers": 5, "layer_bytes": 2048,
        "measured": "2026-01-31", "share": share,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (OUT[:4], "refused (73), timeout (30); not recovered by the end of the run"),
        ([*OUT, *OUT], "recovered 20 s later (and 1 more outage); outside the outages, "),
        ([*OUT[1:5], sample(50, 0, 9, refused=9)], "not recovered by the end of the run"),
        ([OUT[0], OUT[2], OUT[5]], "unknown, but not this machine"),
        # pulls fail now and then, and there are few of them in an interval
        ([OUT[0], sample(20, 0, 1, refused=1), OUT[5]], "unknown, but not this machine"),
        ([sample(10 * k, min(k, 1), int(k == 0), refused=1) for k in range(6)] * 5, "unknown, but not this machine"),
        ([sample(10, 1, 0), *[sample(20, 0, 3, refused=3), sample(30, 1, 2, refused=2)] * 3],
         "unknown, but not this machine"),
        ([sample(10, 5, 0), *[sample(20 + 10 * k, 0, 1, timeout=1) for k in range(4)]], "From 12:03:10 to 12:03:50"),
        ([sample(10, 3, 40, refused=40)], "unknown, but not this machine"),
        ([OUT[0], OUT[1], OUT[2], OUT[5]], "From 12:03:10 to 12:03:20 no pull succeeded: refused (40); recovered"),
    ],
)  # fmt: skip
def test_what_is_an_outage(samples: list[dict[str, Any]], said: str) -> None:
    assert said in limit(a_summary(samples=samples))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"limited_by": "client"}, "driver and clients used nearly all CPU of this machine"),
        ({"limited_by": "machine"}, "other programs used nearly all CPU of this machine"),
        ({"late_no_worker": 7, "unstarted": 3}, "all workers were busy: 7 pulls started late, 3 pulls never started"),
        ({"late_machine": 7}, "this machine was slow to start 7 pulls"),
        ({"settings": {"dry_run": True}}, "dry run: nothing was pulled"),
        # one late pull of hundreds limits nothing
        ({"late_no_worker": 1, "pulled": 500}, "unknown, but not this machine"),
        ({"late_machine": 1, "pulled": 500}, "unknown, but not this machine"),
        ({"machine_limit": near(0.97)}, "perhaps this machine: the peak is 97 % of the 100 pulls/s that calibrate"),
        ({"machine_limit": near(0.5)}, "unknown, but not this machine: "),
    ],
)  # fmt: skip
def test_what_limited_it(fields: dict[str, Any], said: str) -> None:
    assert said in limit(a_summary(**fields))


def run_in(folder: Path, *words: str, stdout: Path | None = None) -> tuple[list[str], str]:
    """What stands on stdout and stderr of a run between nobody."""
    words = (
        *between_nobody(install(folder / "bin"), ["ok/app-0:v1"], None),
        "--workers=1",
        "--passes=5",
        *words,
    )
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=2 * SECONDS, check=True)
    return done.stdout.splitlines(), done.stderr


def test_in_a_pipe_a_run_whose_output_goes_to_files_ends_with_it(tmp_path: Path) -> None:
    summary_file = tmp_path / "s.json"
    shown, err = run_in(
        tmp_path, f"--metrics-file={tmp_path}/m", f"--log-file={os.devnull}", f"--summary-file={summary_file}"
    )
    assert shown == ending(
        read_summary(summary_file), {"summary": str(summary_file), "metrics": f"{tmp_path}/m"}
    )
    assert "5 pulls" in next(line for line in shown if line.startswith("failed"))
    assert err == ""


@pytest.mark.parametrize("taken", ["--metrics-file=-", "--log-file=-", "--summary-file=-"])
def test_other_output_on_stdout_stays_alone(tmp_path: Path, taken: str) -> None:
    files = {"--metrics-file": "m", "--log-file": "l"}
    words = [f"{name}={tmp_path}/{file}" for name, file in files.items() if not taken.startswith(name)]
    shown, err = run_in(tmp_path, *words, taken)
    assert not [line for line in shown if line.startswith("tested ")]
    assert err == ""
