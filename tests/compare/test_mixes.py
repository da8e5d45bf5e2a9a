"""Runs that pulled different mixes of images: in a closed run, the mix follows the server's speed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import exp, sqrt
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.comparison import Comparison, Rules, compare
from lib.compare.quantities import Quantity
from lib.compare.thresholds import judge, parse_limit
from lib.student import reach
from tests.support.held import held, run, write
from tests.support.made import latency


def mixed(sets: Mapping[str, tuple[int, float]], **changes: Any) -> dict[str, Any]:
    """A run of 24 intervals whose image sets have so many pulls of so many milliseconds each."""
    pulled = sum(count for count, _ in sets.values())
    per_interval = [pulled // 24 + (k < pulled % 24) for k in range(24)]
    document = held(per_interval, **changes)
    document["latency_ms"] = latency([ms for count, ms in sets.values() for _ in range(count)])
    document["image_sets"] = [
        {
            "pattern": name,
            "images": 10,
            "pulled": count,
            "failed": 0,
            "latency_ms": latency([ms]) if count else None,
        }
        for name, (count, ms) in sets.items()
    ]
    return document


def compared(a: dict[str, Any], b: dict[str, Any]) -> Comparison:
    return compare((run(a, "a"),), (run(b, "b"),), Rules())


def rows(comparison: Comparison) -> dict[str, Quantity]:
    return {each.name: each for each in comparison.quantities}


A = mixed({"small": (6000, 20.0), "big": (60, 2000.0)})
B = mixed({"small": (5963, 20.0), "big": (30, 4000.0)})


def test_half_of_the_images_twice_as_slow_is_a_factor_of_the_root_of_two() -> None:
    """The rate is nearly the same, as few of the pulls are of the slow images."""
    found = compared(A, B)
    assert found.weighted is not None
    assert found.weighted.ratio == pytest.approx(sqrt(2))
    rate = rows(found)["rate"]
    assert rate.change == pytest.approx(5993 / 6060 - 1)
    assert rate.low is not None
    assert -0.02 < rate.low < 0.02, "it would be the same but for the mix"
    for each in found.quantities:
        assert each.is_share or each.verdict in ("inconclusive", "slower"), each.name
    assert {each.verdict for each in compared(B, A).quantities if not each.is_share} <= {
        "inconclusive",
        "faster",
    }


def test_the_interval_is_students_over_the_images() -> None:
    ratios = (1.2, 1.3, 1.25, 1.28)
    a = mixed({str(k): (500, 100.0) for k in range(4)})
    b = mixed({str(k): (200 + 200 * k, 100.0 * ratio) for k, ratio in enumerate(ratios)})
    found = compared(a, b).weighted
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low * found.high == pytest.approx(found.ratio**2)
    assert 1.18 < found.low < found.ratio < found.high < 1.34
    two = compared(A, B).weighted
    assert two is not None
    assert two.high == pytest.approx(sqrt(2) * exp(reach(1) * 0.5 * 0.6931472), rel=1e-6)


def test_a_gate_is_not_met_against_the_equally_weighted_change() -> None:
    gate = parse_limit("rate>-5%")
    judged = judge(gate, compared(A, B).quantities)
    assert (judged.verdict, judged.passed, judged.longer) == ("inconclusive", False, None)
    assert judge(gate, compared(B, A).quantities).verdict == "met"


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        ((500, 500), (500, 500), False),
        ((500, 500), (480, 520), False),
        ((5000, 5000), (4600, 5400), True),
        ((500, 500), (440, 560), True),
        ((10, 10), (9, 11), False),
        ((10, 990), (14, 986), False),
        ((1000, 99_000), (1500, 98_500), True),
        ((500, 500), (0, 1000), True),
    ],
)
def test_mixes_differ_by_more_than_five_percent(a: tuple[int, int], b: tuple[int, int], differ: bool) -> None:
    """Of all pulls; or of the share itself, if that is not chance."""
    one, other = (mixed({"x": (side[0], 50.0), "y": (side[1], 60.0)}) for side in (a, b))
    found = compared(one, other)
    assert (found.mix is not None, found.weighted is not None) == (differ, differ)


def test_the_same_mix_keeps_its_verdict() -> None:
    a, b = (mixed({"x": (count, 50.0), "y": (count, 60.0)}) for count in (6000, 3000))
    found = compared(a, b)
    assert found.mix is None
    assert rows(found)["rate"].verdict == "slower"


def test_a_verdict_that_the_images_support_stays() -> None:
    a = mixed({"x": (6000, 50.0), "y": (6000, 60.0)})
    b = mixed({"x": (3000, 100.0), "y": (4000, 90.0)})
    found = compared(a, b)
    assert found.mix is not None
    assert rows(found)["rate"].verdict == "slower"


def test_all_formats_tell_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(write(tmp_path, name, each)) for name, each in (("a", A), ("b", B))]
    page = tmp_path / "page.html"
    for form in ("text", "markdown"):
        assert main(["compare", *files, f"--format={form}", f"--report-file={page}"]) == 0
        out = capfd.readouterr().out
        assert "warning: the runs pulled different mixes of images" in out
        assert "if all 2 image sets weigh the same, B takes 1.41 times as long as A" in out
    assert "B takes 1.41 times as long as A" in page.read_text()
    main(["compare", *files, "--format=json"])
    (told,) = json.loads(capfd.readouterr().out)["comparisons"]
    assert told["equally_weighted"]["ratio"] == pytest.approx(sqrt(2))
    assert set(told["equally_weighted"]) == {"ratio", "low", "high"}
    assert told["verdict"] == "inconclusive"
    main(["compare", files[0], files[0], "--format=json"])
    assert json.loads(capfd.readouterr().out)["comparisons"][0]["equally_weighted"] is None


def test_groups_have_one_mix_each() -> None:
    found = compare((run(A, "1"), run(A, "2")), (run(B, "3"), run(B, "4")), Rules())
    assert found.weighted is not None
    assert found.weighted.ratio == pytest.approx(sqrt(2))


def event(at: float, image: str, seconds: float) -> str:
    return json.dumps(
        {
            "time": f"2026-01-31T12:{int(at) // 60:02}:{at % 60:09.6f}+00:00", "op": "pull", "outcome": "ok",
            "class": None, "seconds": seconds, "first": False, "image": image,
        }
    )  # fmt: skip


def test_with_events_each_image_weighs_the_same(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Three images: two as before, one of few pulls twice as slow. The image sets are not known."""
    paths = []
    for name, slow, count in (("a", 2.0, 60), ("b", 4.0, 30)):
        images = ["x", "y"] * 450 + ["z"] * count
        at = [359.0 * k / len(images) for k in range(len(images))]
        lines = [event(t, each, slow if each == "z" else 0.02) for t, each in zip(at, images, strict=True)]
        per_interval = [sum(15 * k <= t < 15 * k + 15 for t in at) for k in range(24)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        paths.append(str(write(tmp_path, name, held(per_interval))))
    events = [word for name in "ab" for word in ("--events", f"{tmp_path}/{name}.jsonl")]
    assert main(["compare", *paths, *events, "--format=json"]) == 0
    (told,) = json.loads(capfd.readouterr().out)["comparisons"]
    assert told["equally_weighted"]["ratio"] == pytest.approx(2 ** (1 / 3))
    assert "if all 3 images weigh the same" in told["notes"][0]
