"""Random arrivals and random draws follow their laws, and the same seed gives the same ones."""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from statistics import fmean, pvariance

import pytest

from lib.errors import UsageError
from lib.images import Image, ImageSet
from lib.load.arrivals import Even, Poisson
from lib.load.curve import Curve, Rate
from lib.load.order import AsListed, Draw, Drawn, parse_draw
from lib.load.pace import Schedule
from lib.load.pull import batches

DRAWS = 10_000


def test_the_gaps_of_poisson_are_exponential() -> None:
    """Mean and variance of 10,000 gaps within four standard errors: 1/√n for the mean, √(8/n) for the variance."""
    arrivals = Poisson(7)
    positions = [arrivals.position(pull) for pull in range(DRAWS)]
    gaps = [after - before for before, after in zip([0.0, *positions], positions, strict=False)]
    assert fmean(gaps) == pytest.approx(1.0, abs=4 / math.sqrt(DRAWS))
    assert pvariance(gaps) == pytest.approx(1.0, abs=4 * math.sqrt(8 / DRAWS))
    # the Kolmogorov-Smirnov distance to the exponential law, at 1 %
    ordered = sorted(gaps)
    distance = max(
        max(abs(1 - math.exp(-gap) - place / DRAWS), abs(1 - math.exp(-gap) - (place + 1) / DRAWS))
        for place, gap in enumerate(ordered)
    )
    assert distance < 1.63 / math.sqrt(DRAWS)


def test_the_same_seed_gives_the_same_arrivals() -> None:
    one, other, third = (Schedule(Curve(((Rate(5, 50), 60.0),)), Poisson(seed)) for seed in (3, 3, 4))
    times = [[schedule.second_of(pull) for pull in range(500)] for schedule in (one, other, third)]
    assert times[0] == times[1] != times[2]
    assert times[0] == sorted(times[0])


@pytest.mark.parametrize("arrivals", [Even(), Poisson(1)])
@pytest.mark.parametrize(
    "curve",
    [
        Curve(((Rate(20, 20), 5.0),)),
        Curve(((Rate(0, 20), 10.0), (Rate(20, 20), 5.0), (Rate(20, 0), 10.0))),
        Curve(((Rate(0, 0), 3.0), (Rate(5, 50), 2.0))),
    ],
)
def test_what_is_due_and_when_it_is_due_agree(arrivals: Even | Poisson, curve: Curve) -> None:
    schedule = Schedule(curve, arrivals)
    total = schedule.due_pulls(curve.seconds)
    assert total == pytest.approx(curve.total, abs=5 * math.sqrt(curve.total))
    for pull in range(total):
        second = schedule.second_of(pull)
        assert 0 <= second <= curve.seconds
        assert schedule.due_pulls(second + 1e-6) >= pull + 1
        assert second < 1e-6 or schedule.due_pulls(second - 1e-6) <= pull + 1
    assert schedule.second_of(total) == math.inf


def images(count: int) -> tuple[Image, ...]:
    return tuple(Image(f"app{rank}", "v1") for rank in range(1, count + 1))


@pytest.mark.parametrize("exponent", [0.0, 0.9, 1.0, 2.0])
def test_draws_follow_the_law(exponent: float) -> None:
    """A chi-square test with 9 degrees of freedom at 0.1 %, with a fixed seed."""
    order = Drawn(images(10), Draw(exponent), Random("5/0"))
    drawn = Counter(image.repository for _ in range(DRAWS // 10) for image in order.next_pass())
    assert drawn.total() == DRAWS
    weights = [rank**-exponent for rank in range(1, 11)]
    expected = [DRAWS * weight / sum(weights) for weight in weights]
    chi_square = sum((drawn[f"app{rank}"] - wanted) ** 2 / wanted for rank, wanted in enumerate(expected, 1))
    assert chi_square < 27.88


def test_the_same_seed_draws_the_same_images() -> None:
    passes = [list(Drawn(images(50), Draw(1.0), Random(f"{seed}/0")).next_pass()) for seed in (1, 1, 2)]
    assert passes[0] == passes[1] != passes[2]
    assert len(passes[0]) == 50


def test_a_batch_holds_no_image_twice() -> None:
    drawn = list(Drawn(images(3), Draw(1.0), Random(1)).next_pass()) * 10
    parts = list(batches(drawn, 5))
    assert [image for part in parts for image in part] == drawn
    assert all(len(set(part)) == len(part) for part in parts)


def test_the_first_pass_of_a_shuffled_order_is_as_listed() -> None:
    order = AsListed(ImageSet("all", images(20)), Random(1))
    first, second, third = (tuple(order.next_pass()) for _ in range(3))
    assert first == images(20)
    assert first != second != third
    assert sorted(second) == sorted(third) == sorted(first)


@pytest.mark.parametrize(
    ("text", "exponent"), [("uniform", 0.0), ("zipf:1", 1.0), ("zipf:.9", 0.9), ("zipf:0", 0.0)]
)
def test_draws(text: str, exponent: float) -> None:
    assert parse_draw("--draw", text) == Draw(exponent)


@pytest.mark.parametrize("text", ["", "zipf", "zipf:", "zipf:-1", "zipf:x", "zipf:11", "pareto", "zipf:nan"])
def test_no_draws(text: str) -> None:
    with pytest.raises(UsageError, match="--draw"):
        parse_draw("--draw", text)
