"""What a load test and a capacity search share: outputs, preparation, and how an error or a signal ends them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from time import monotonic
from typing import Any

from .clock import Clock
from .errors import RunError, Stopped
from .fault import fault_line, traceback_lines
from .http.network import Network
from .load.tally import Tally
from .options.settings import Settings
from .prepare import Beginning, Preparation, Prepared, Surroundings
from .processes.limits import of_this_machine
from .processes.signals import Stop
from .results.output import Outputs
from .results.run_state import Run
from .results.whole_file import check_path
from .results.writable import made_folder
from .streams import say, warn

# How often a thread that waits for the GIL asks for it, in seconds. With Python's default (5 ms), hundreds of workers
# would do little else. No thread of the driver holds the GIL for long, so a longer interval does no harm.
_SWITCH_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a session need not find or make itself.

    `values` are those of stages, by their names: these stages are not carried out. `outputs` opens the outputs.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    stop: Stop = field(default_factory=Stop)
    outputs: Callable[[Settings, Clock], Outputs] = Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One load test or capacity search that has opened its outputs. `began` is monotonic."""

    beginning: Beginning
    clock: Clock
    outputs: Outputs
    state: Run
    began: float
    given: Given

    @property
    def stop(self) -> Stop:
        """The signals so far."""
        return self.given.stop


def opened(settings: Settings, command: tuple[str, ...], given: Given | None = None) -> Session:
    """Carries out the first stages and opens the outputs.

    Raises UsageError or RunError, before any traffic, if one of them fails.
    """
    given = given or Given()
    beginning = Beginning(settings)
    beginning.values.update(given.values)
    beginning.carry_out()
    clock, began = Clock(), monotonic()
    if settings.summary_file is not None:
        check_path(settings.summary_file, "--summary-file")
    if settings.report_file is not None:
        check_path(settings.report_file, "--report-file")
    outputs = given.outputs(settings, clock)
    state = Run(settings, clock.wall(began), Tally(0, retries_known=True, on_sample=outputs.on_sample))
    state.command = command
    return Session(beginning=beginning, clock=clock, outputs=outputs, state=state, began=began, given=given)


@contextmanager
def recorded(session: Session) -> Iterator[None]:
    """Records in the state how the block ended: by an error of the run, a fault of the driver, or a signal."""
    stop, outputs, state = session.stop, session.outputs, session.state
    try:
        yield
    except Stopped:
        pass  # the signal is reported below
    except RunError as error:
        state.reason = str(error)
    except Exception as error:
        state.reason = of_this_machine(error)
        if state.reason is None:
            state.reason = fault_line(error)
            for line in traceback_lines(error):
                outputs.log(line)
    finally:
        if stop.signal is not None:
            state.interrupted = True
            state.reason = f"interrupted by {Signals(stop.signal).name}"
            outputs.log(state.reason)


@contextmanager
def prepared(session: Session, lasting: ExitStack) -> Iterator[tuple[Prepared, Callable[[], None]]]:
    """Prepares the load. Yields what it needs, and what ends all running clients.

    `lasting` keeps open what must outlive the block. The caller closes it, after the result is written.
    """
    stop, outputs, state = session.stop, session.outputs, session.state
    network = network_of(session, lasting)
    with ExitStack() as resources:
        around = Surroundings(
            network=network,
            resources=resources,
            lasting=lasting,
            stopped=stop.wait,
            log=outputs.log,
            warn=warn,
            state=state,
        )
        preparation = Preparation(session.beginning, around)
        preparation.values.update(session.given.values)
        ready = preparation.carry_out(state.select)
        state.client = ready.client_setup.client
        state.sizes = ready.sizes

        sys.setswitchinterval(_SWITCH_SECONDS)

        def kill() -> None:
            network.kill_all()
            if ready.client_setup.launcher is not None:
                ready.client_setup.launcher.kill_all()

        yield ready, kill


def network_of(session: Session, lasting: ExitStack) -> Network:
    """Logs the beginning of the test, and returns its network thread, which `lasting` ends."""
    _announce(session)
    return lasting.enter_context(Network(session.stop))


def _announce(session: Session) -> None:
    """Logs the beginning, and tells of folders that were made and of hints."""
    outputs, beginning = session.outputs, session.beginning
    outputs.log("test begins")
    by_folder: dict[Path, list[str]] = {}
    for option, folder in beginning.files().items():
        by_folder.setdefault(folder, []).append(option)
    for folder, options in by_folder.items():
        outputs.log(made_folder(folder, ", ".join(options)))
    for remark in beginning.hints:
        outputs.log(remark)
        say(remark)
