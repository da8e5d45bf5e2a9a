"""The options of `ocidriver capacity`: those of the load test, without the ones that it decides itself."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any, Final

import click

from ..choices import ALL
from ..errors import UsageError
from ..load.curve import MOST_PULLS_PER_SECOND
from ..options.definitions import OPTIONS
from ..options.sections import Section
from ..options.thresholds import Threshold, parse_slo
from ..options.types import Seconds

SEARCH: Final = "Search"
# Options of the load test that a search decides itself, with why.
_REFUSED: Final[Mapping[str, str]] = {
    "rate": "the search chooses the rate of each trial; give --from and --max-rate",
    "iteration_seconds": "a trial has no ramp; give --trial for its length",
    "passes": "a trial has a fixed length; give --trial",
    "hold": "a trial has no ramp; give --trial for its length",
    "duration": "give --trial for the length of a trial",
    "stage": "the search chooses the rate of each trial; give --from and --max-rate",
    "herd": "a trial starts pulls on a schedule, and herds do not; leave it out",
    "share": "each trial depends on the one before, so one machine makes them all; leave it out",
    "pieces_file": "it records one load, and a search has many; leave it out",
    "lost_hosts": "a search needs all of its hosts; leave it out",
    "threshold": "give --slo instead",
    "start_at": "leave it out, and start capacity at that time, for example with sleep",
    "metrics_listen": "it serves the metrics of one load, and a search has many; leave it out",
    "annotations": "a search writes no annotations; leave it out",
}
# What the refused options are in each trial.
_DECIDED: Final[Mapping[str, Any]] = {
    "iteration_seconds": None,
    "passes": None,
    "hold": None,
    "stage": (),
    "herd": False,
    "share": None,
    "pieces_file": None,
    "lost_hosts": 0,
    "threshold": (),
    "start_at": None,
    "metrics_listen": None,
    "annotations": "none",
}
# Workers if the user gives neither --workers nor --patterns.
_WORKERS: Final = 64
_NOT_WRITTEN: Final = ("metrics_file", "log_file")


class Percent(click.ParamType[float]):
    """A share in percent, such as 5%; the percent sign may be left out."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            share = float(str(value).strip().removesuffix("%")) / 100
        except ValueError:
            self.fail(f"'{value}' is not a percentage; give one such as 5%", param, ctx)
        if not 0.001 <= share <= 1:
            self.fail(f"'{value}' is out of range; give 0.1% to 100%", param, ctx)
        return share


def _of_the_load_test() -> list[click.Parameter]:
    """Returns the options of the load test that a search has, and hidden ones that say why they are refused."""
    kept: list[click.Parameter] = []
    for option in OPTIONS:
        if option.name in _REFUSED:
            kept.append(_refused(option))
        elif option.name in _NOT_WRITTEN:
            other = copy.copy(option)
            assert isinstance(other, click.Option)
            other.default, other.show_default = os.devnull, False
            other.help = f"{(other.help or '').partition('.')[0]}. By default, it is not written."
            kept.append(other)
        else:
            kept.append(option)
    return kept


def _refused(option: click.Parameter) -> click.Option:
    reason = _REFUSED[str(option.name)]

    def refuse(_: click.Context, param: click.Parameter, value: Any) -> None:
        if value not in (None, (), False):
            raise UsageError(f"capacity does not take {param.opts[0]}: {reason}")

    flag = isinstance(option, click.Option) and (option.is_flag or isinstance(option.flag_value, str))
    return click.Option(
        list(option.opts),
        hidden=True,
        expose_value=False,
        callback=refuse,
        multiple=isinstance(option, click.Option) and option.multiple,
        is_flag=False,
        flag_value="true" if flag else None,
    )


SEARCH_OPTIONS: Final[list[click.Parameter]] = [
    Section(
        ["--slo"],
        section=SEARCH,
        metavar="EXPR",
        multiple=True,
        required=True,
        help="A rate holds if it meets every EXPR, such as p95<250ms or error_rate<1%. The same expressions as for "
        "--threshold, without those of peak and knee. Repeatable.",
    ),
    Section(
        ["--from", "first"],
        section=SEARCH,
        type=click.FloatRange(min=0, min_open=True, max=MOST_PULLS_PER_SECOND),
        metavar="R",
        default=10.0,
        show_default=True,
        help="Rate of the first trial, in pulls per second. The search doubles it until a rate does not hold.",
    ),
    Section(
        ["--within"],
        section=SEARCH,
        type=Percent(),
        metavar="P%",
        default="5%",
        show_default=True,
        help="End when the highest rate that held and the lowest that did not are this close.",
    ),
    Section(
        ["--trial"],
        section=SEARCH,
        type=Seconds(least=1.0),
        metavar="S",
        default="30s",
        show_default=True,
        help="Length of a trial. The verdict leaves out its first tenth. If the verdict is not certain, the "
        "trial is repeated.",
    ),
    Section(
        ["--max-rate"],
        section=SEARCH,
        type=click.FloatRange(min=0, min_open=True, max=MOST_PULLS_PER_SECOND),
        metavar="R",
        help="Try no higher rate, in pulls per second.",
    ),
    Section(
        ["--max-time"],
        section=SEARCH,
        type=Seconds(),
        metavar="S",
        help="Time for all trials together. The search starts no trial that would end later.",
    ),
]
PARAMETERS: Final = [*SEARCH_OPTIONS, *_of_the_load_test()]


def of_first_trial(options: Mapping[str, Any], first: float, trial: float) -> dict[str, Any]:
    """Returns the load test's options that make the first trial. Raises `UsageError` that names the wrong option."""
    given = {**options, **_DECIDED, "rate": f"{first:f}", "duration": trial}
    if not given["patterns"] and given["workers"] is None:
        if given["prune"] or given["prune_first"]:
            raise UsageError(
                "capacity: --prune needs --workers or --patterns; give one of them, with at least one image per worker"
            )
        given["workers"], given["deal"] = _WORKERS, given["deal"] or ALL
    return given


def slos_of(texts: tuple[str, ...]) -> tuple[Threshold, ...]:
    """Returns the SLOs. Raises `UsageError` if one is not valid."""
    return tuple(parse_slo(text) for text in texts)
