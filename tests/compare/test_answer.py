"""The sentence on top of a comparison claims what the verdicts say, and nothing else; its table is the summaries'."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from lib.cli import main
from lib.compare.answer import answer
from lib.compare.comparison import Comparison, Rules, Told, compare
from lib.compare.notes import DRAINS, METHOD, RUNS, SHOWN, Note
from lib.compare.quantities import FASTER, FEWER, INCONCLUSIVE, MORE, SAME, SLOWER, Ends, Quantity
from lib.compare.wording import note_lines
from tests.support.held import held, run, write
from tests.support.made import Made

RELATIVE = {FASTER: 1, SLOWER: -1, SAME: 0, INCONCLUSIVE: 0}


def rate(verdict: str) -> Quantity:
    low, high = {
        FASTER: (0.09, 0.15),
        SLOWER: (-0.15, -0.09),
        SAME: (-0.008, 0.011),
        INCONCLUSIVE: (-0.03, 0.09),
    }[verdict]
    change = (low + high) / 2
    ends = Ends(low - change, high - change, 24, lambda number: number**-0.5)
    return Quantity("rate", 10.0, 10 * (1 + change), change, low, high, verdict, ends=ends)


def latency(name: str, verdict: str) -> Quantity:
    b = {FASTER: 70.0, SLOWER: 130.0}.get(verdict, 100.5)
    return Quantity(name, 100.0, b, b / 100 - 1, verdict=verdict)


def share(name: str, verdict: str, a: float = 0.01) -> Quantity:
    b = {MORE: 0.05, FEWER: 0.002}.get(verdict, a)
    return Quantity(name, a, b, b - a, verdict=verdict)


def told(
    of_rate: str = SAME, p95: str = SAME, mean: str = INCONCLUSIVE, errors: str = SAME, retries: str = SAME
) -> Told:
    rows = (
        rate(of_rate), latency("p95", p95), latency("mean", mean), latency("p50", INCONCLUSIVE),
        share("error_rate", errors), share("retry_rate", retries),
    )  # fmt: skip
    runs = (run(held([10] * 8)),)
    return Told(Comparison(runs, runs, rows, (), None, None), (), ())


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            told(SLOWER, SLOWER),
            "B is slower than A: it pulls 12 % fewer images per second (9 % to 15 %), and its p95 is 30 ms longer; "
            "errors and retries are the same.",
        ),
        (
            told(FASTER, SLOWER, errors=MORE, retries=FEWER),
            "B is faster than A: it pulls 12 % more images per second (9 % to 15 %), but its p95 is 30 ms longer; "
            "more pulls fail (5 % instead of 1 %); clients retry less often (retries per pull: 0.2 % instead of 1 %).",
        ),
        (
            told(SAME, FASTER, errors=FEWER, retries=MORE),
            "B pulls as many images per second as A (-0.8 % to +1.1 %), but its p95 is 30 ms shorter; "
            "fewer pulls fail (0.2 % instead of 1 %); clients retry more often (retries per pull: 5 % instead of 1 %).",
        ),
        (
            told(SLOWER, INCONCLUSIVE, SLOWER, errors=INCONCLUSIVE, retries=INCONCLUSIVE),
            "B is slower than A: it pulls 12 % fewer images per second (9 % to 15 %), and its mean latency is 30 ms "
            "longer; the runs do not show whether more or fewer pulls fail.",
        ),
        (
            told(INCONCLUSIVE, SLOWER),
            "The runs do not show whether B is faster or slower than A: the rate of B is between 3 % lower and 9 % "
            "higher (to tell, the runs must be about 38 times as long); B's p95 is 30 ms longer; errors and "
            "retries are the same.",
        ),
        (
            told(FASTER, SAME, retries=INCONCLUSIVE),
            "B is faster than A: it pulls 12 % more images per second (9 % to 15 %), and its p95 is the same; errors "
            "are the same.",
        ),
    ],
)
def test_the_sentence(found: Told, sentence: str) -> None:
    assert answer(found) == sentence
    assert answer(found, a="X", b="Y") == re.sub(r"\bB\b", "Y", re.sub(r"\bA\b", "X", sentence))


WORDS = {
    "rate": {
        FASTER: "B is faster than A",
        SLOWER: "B is slower than A",
        SAME: "B pulls as many images per second",
    },
    "p95": {
        FASTER: "p95 is 30 ms shorter",
        SLOWER: "p95 is 30 ms longer",
        SAME: "p95 is the same",
    },
    "errors": {MORE: "more pulls fail (", FEWER: "fewer pulls fail (", SAME: "errors "},
    "retries": {MORE: "retry more often", FEWER: "retry less often"},
}


@pytest.mark.parametrize(
    ("of_rate", "p95", "errors", "retries"),
    list(product(RELATIVE, RELATIVE, (MORE, FEWER, SAME, INCONCLUSIVE), (MORE, FEWER, SAME, INCONCLUSIVE))),
)
def test_it_claims_what_the_verdicts_say_and_nothing_else(
    of_rate: str, p95: str, errors: str, retries: str
) -> None:
    sentence = answer(told(of_rate, p95, errors=errors, retries=retries))
    verdicts = {"rate": of_rate, "p95": p95, "errors": errors, "retries": retries}
    for what, words in WORDS.items():
        for verdict, claim in words.items():
            assert (claim in sentence) == (verdict == verdicts[what]), (what, verdict, sentence)
    assert ("do not show whether B is faster" in sentence) == (of_rate == INCONCLUSIVE)
    assert sentence.count(".") - len(re.findall(r"\d\.\d", sentence)) == 1


def test_a_rate_without_an_interval_says_what_would_help() -> None:
    found = told(INCONCLUSIVE, INCONCLUSIVE)
    why = "too few intervals; give a shorter --tally-seconds, or --events"
    rows = tuple(
        each.without_interval(why) if each.name == "rate" else each for each in found.comparison.quantities
    )
    sentence = answer(replace(found, comparison=replace(found.comparison, quantities=rows)))
    assert sentence.startswith(
        "The runs do not show whether B is faster or slower than A: "
        "too few intervals (give a shorter --tally-seconds, or --events); "
    )


def test_runs_that_pulled_nothing_and_runs_without_failures() -> None:
    empty = held([0] * 8, {"refused": [3] * 8}, latency_ms=None)
    one, other = run(held([10] * 8), "a"), run(empty, "b")
    found = Told(compare((one,), (other,), Rules()), (), ())
    assert answer(found) == "B pulled nothing, so the runs cannot be compared."
    assert answer(Told(compare((other,), (other,), Rules()), (), ())).startswith("A and B pulled nothing")
    assert answer(Told(compare((one,), (one,), Rules()), (), ())).endswith("; no pull failed.")


def test_the_advice_decides() -> None:
    """With so many times as much data, and the same change, the interval has a verdict."""
    for change, beyond in ((0.01, False), (0.05, True), (-0.05, True)):
        ends = Ends(-0.04, 0.04, 24, lambda number: number**-0.5)
        quantity = Quantity(
            "rate", 1.0, 1 + change, change, change - 0.04, change + 0.04, INCONCLUSIVE, ends=ends
        )
        times = quantity.longer_to_tell(Rules().margins)
        assert times is not None
        low, high = change - 0.04 / times**0.5, change + 0.04 / times**0.5
        margin = 0.02
        if beyond:
            assert min(abs(low), abs(high)) == pytest.approx(margin, abs=0.002)
        else:
            assert max(abs(low), abs(high)) == pytest.approx(margin, abs=0.002)
    assert rate(SLOWER).longer_to_tell(Rules().margins) is None


def test_the_most_important_notes_come_first_and_the_others_are_short() -> None:
    notes = [
        Note("last", "z", METHOD), Note("b.json was interrupted", "x", RUNS), Note("second", "y", DRAINS),
        Note("also a method", "w", METHOD), Note("a method", "v", METHOD),
    ]  # fmt: skip
    found = told()
    lines = list(note_lines(replace(found, comparison=replace(found.comparison, notes=tuple(notes)))))
    assert lines == [
        "warning: b.json was interrupted",
        "warning: second",
        "note: last",
        "also: w; v",
    ]
    assert len(lines) == SHOWN + 1
    # a line of one note in brief would be no shorter
    few = list(note_lines(replace(found, comparison=replace(found.comparison, notes=tuple(notes[1:])))))
    assert [line.partition(":")[0] for line in few] == ["warning", "warning", "note", "note"]


def test_each_of_ten_runs_that_drained_is_in_one_note() -> None:
    runs = [
        run({**held([100 + k] * 8), "drain": {"seconds": 1.0, "pulled": k % 3, "failed": 0}}, f"{k}.json")
        for k in range(10)
    ]
    found = [
        each for each in compare(tuple(runs[:5]), tuple(runs[5:]), Rules()).notes if each.about == DRAINS
    ]
    assert len(found) == 1
    assert found[0].startswith("1.json, 2.json, 4.json, 5.json, 7.json and 8.json: 9 pulls ended after")
    assert found[0].brief == "9 pulls ended late"


def figures(out: str) -> dict[str, list[str]]:
    """The first two figures of each row of the first table in the text, by its name and unit."""
    table = out.split("\n\n")[1].splitlines()
    assert table[0].split()[:2] == ["A", "B"]
    return {" ".join(line.split()[:2]): line.split()[2:4] for line in table[1:]}


def summary_figure(document: dict[str, Any], name: str) -> float | None:
    if name in ("rate", "error_rate"):
        return document[name]  # type: ignore[no-any-return]
    if name == "retry_rate":
        ended = document["pulled"] + document["failed"]
        return None if document.get("retried") is None else document["retried"] / ended
    if name.startswith("errors."):
        return document["errors"].get(name[7:], 0) / (document["pulled"] + document["failed"])  # type: ignore[no-any-return]
    group, _, which = name.rpartition(".")
    found = document[f"{group}_latency_ms" if group else "latency_ms"]
    return None if found is None else found[which]


@pytest.mark.parametrize("retried", [None, 36])
def test_each_figure_of_the_first_table_is_the_summarys(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], retried: int | None
) -> None:
    made = [Made(1, failing=0.05), Made(2, ms=500.0, failing=0.1)]
    for each in made:
        each.document["retried"] = retried
    paths = [str(each.write(tmp_path, name)) for name, each in zip("ab", made, strict=True)]
    assert main(["compare", *paths]) == 0
    rows = figures(capfd.readouterr().out)
    assert {
        "rate /s",
        "mean ms",
        "p95 ms",
        "first.p50 ms",
        "error_rate %",
        "errors.timeout %",
        "retry_rate %",
    } <= set(rows)
    for name, cells in rows.items():
        quantity, unit = name.split()
        for cell, each in zip(cells, made, strict=True):
            value = summary_figure(each.document, quantity)
            assert (cell == "-") == (value is None), name
            if value is not None:
                digits = len(cell.partition(".")[2])
                assert float(cell) == pytest.approx(
                    value * (100 if unit == "%" else 1), abs=0.51 * 10**-digits
                ), name


def test_the_answer_is_first_in_every_format(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [str(Made(k, ms=ms).write(tmp_path, name)) for name, k, ms in (("a", 1, 400.0), ("b", 2, 500.0))]
    page = tmp_path / "page.html"
    told = {}
    for form in ("json", "text", "markdown"):
        assert main(["compare", *paths, f"--format={form}", f"--report-file={page}"]) == 0
        told[form] = capfd.readouterr().out
    (found,) = json.loads(told["json"])["comparisons"]
    sentence = found["answer"]
    assert sentence.startswith("B is slower than A: it pulls ")
    assert told["text"].splitlines()[0] == sentence
    assert told["markdown"].splitlines()[0] == f"**{sentence}**"
    body = page.read_text().partition("<h1>")[2]
    assert body.index(sentence) < body.index("<table>")


def test_further_runs_have_letters_of_their_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [
        str(write(tmp_path, name, {**held([100] * 8), "settings": {"batch": k}}))
        for k, name in enumerate("abc")
    ]
    assert main(["compare", *paths]) == 0
    first, second = capfd.readouterr().out.split("\n\nC pulls as many")
    assert first.startswith("B pulls as many images per second as A")
    assert "--batch (A 0, B 1)" in first
    assert "--batch (A 0, C 2)" in second
    assert re.search(r"^C  .*c\.json: ", second, re.M)
    assert not re.search(r"\bB\b", second)
