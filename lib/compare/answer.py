"""The result of a comparison in one sentence. It claims only what a verdict supports."""

from __future__ import annotations

from collections.abc import Iterator

from ..figures import milliseconds, percent
from .comparison import Told
from .quantities import (
    BAD,
    ERROR_RATE,
    GOOD,
    INCONCLUSIVE,
    MORE,
    RETRY_RATE,
    SAME,
    SLOWER,
    Quantity,
)
from .wording import longer

# The latency that the sentence names, and in which words: the first of these with a verdict.
_LATENCIES = {"p95": "", "mean": "mean latency", "p50": "median latency"}


def answer(told: Told, a: str = "A", b: str = "B") -> str:
    """Returns the sentence. `a` and `b` are the names of the two sides.

    `B is slower than A: it pulls 12 % fewer images per second (9 % to 15 %), and its p95 is 30 ms longer; errors are
    the same.`
    """
    empty = [
        name
        for name, runs in ((a, told.comparison.a), (b, told.comparison.b))
        if not any(run.summary.pulled for run in runs)
    ]
    if empty:
        return f"{' and '.join(empty)} pulled nothing, so the runs cannot be compared."
    rows = {each.name: each for each in told.comparison.quantities}
    parts = [_lead(told, _latency(rows), a, b), *_failures(rows)]
    return f"{'; '.join(parts)}."


def _lead(told: Told, latency: Quantity | None, a: str, b: str) -> str:
    """Returns what is known of rate and latency."""
    rate = told.rate
    if rate.verdict == INCONCLUSIVE:
        whose = f"{b}'s"
        also = f"; {_on_latency(latency, whose)}" if latency else ""
        return f"The runs do not show whether {b} is faster or slower than {a}: {_why(told, b)}{also}"
    if rate.verdict == SAME:
        lead = f"{b} pulls as many images per second as {a} ({_range(rate)})"
    else:
        word = "fewer" if rate.verdict == SLOWER else "more"
        lead = (
            f"{b} is {rate.verdict} than {a}: it pulls {_percent(rate.change)} {word} images per second "
            f"({_range(rate)})"
        )
    if latency is None:
        return lead
    opposed = rate.verdict != latency.verdict and SAME not in (rate.verdict, latency.verdict)
    differs = rate.verdict == SAME != latency.verdict
    return f"{lead}, {'but' if opposed or differs else 'and'} {_on_latency(latency)}"


def _latency(rows: dict[str, Quantity]) -> Quantity | None:
    """Returns the latency to name, or None if none has a verdict."""
    return next((rows[name] for name in _LATENCIES if rows[name].verdict != INCONCLUSIVE), None)


def _on_latency(latency: Quantity, whose: str = "its") -> str:
    name = f"{whose} {_LATENCIES[latency.name] or latency.name}"
    if latency.verdict == SAME or latency.a is None or latency.b is None:
        return f"{name} is the same"
    longer = "longer" if latency.verdict == SLOWER else "shorter"
    return f"{name} is {milliseconds(abs(latency.b - latency.a))} {longer}"


def _failures(rows: dict[str, Quantity]) -> Iterator[str]:
    """Yields what is known of errors and retries."""
    errors, retries = rows[ERROR_RATE], rows[RETRY_RATE]
    if errors.a == 0 and errors.b == 0:
        yield "no pull failed"
    elif errors.verdict == SAME:
        yield "errors and retries are the same" if retries.verdict == SAME else "errors are the same"
    elif errors.verdict in (*GOOD, *BAD):
        yield f"{errors.verdict} pulls fail ({_instead(errors)})"
    else:
        yield "the runs do not show whether more or fewer pulls fail"
    if retries.verdict in (*GOOD, *BAD):
        often = "more" if retries.verdict == MORE else "less"
        yield f"clients retry {often} often (retries per pull: {_instead(retries)})"


def _instead(quantity: Quantity) -> str:
    return f"{percent(quantity.b or 0.0)} instead of {percent(quantity.a or 0.0)}"


def _why(told: Told, b: str) -> str:
    """Returns why the rate has no verdict, and what gives it one."""
    rate = told.rate
    if rate.change is None or rate.low is None or rate.high is None:
        why, _, advice = (rate.why or "too few data").partition("; ")
        return f"{why} ({advice})" if advice else why
    times = rate.longer_to_tell(told.margins)
    if times is None:
        return "they pulled different mixes of images"
    several = len(told.comparison.b) > 1
    return f"the rate of {b} is {_span(rate.low, rate.high)} (to tell, {longer(times, several=several)})"


def _span(low: float, high: float) -> str:
    if low < 0 < high:
        return f"between {_percent(low)} lower and {_percent(high)} higher"
    near, far = sorted((abs(low), abs(high)))
    return f"{_percent(near)} to {_percent(far)} {'lower' if high <= 0 else 'higher'}"


def _range(rate: Quantity) -> str:
    """Returns the confidence interval of the rate: without signs, if they follow from the verdict."""
    low, high = rate.low or 0.0, rate.high or 0.0
    if rate.verdict == SAME:
        return f"{100 * low:+.1f} % to {100 * high:+.1f} %"
    near, far = sorted((abs(low), abs(high)))
    return f"{_percent(near)} to {_percent(far)}"


def _percent(change: float | None) -> str:
    """Returns a change without its sign, with the digits of the table."""
    return f"{abs(100 * (change or 0.0)):.1f}".removesuffix(".0") + " %"
