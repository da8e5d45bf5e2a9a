"""All checks of `doctor`: each stage of a run's preparation, and problems that would appear only during a run.

A check that fails says what to do. Checks that depend on a failed one are skipped; all others still run. If other
options would solve a problem, the remaining checks use these options.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import chain

from ..clients.files import client_environment
from ..clients.find import Found, candidates, find_client
from ..errors import RunError
from ..http.address import Listen
from ..options.start_at import late_hint
from ..processes.cgroup import limits
from ..results.writable import unwritable_files
from . import images, machine, registries, trial
from .check import FAILURE, OK, WARNING, Check
from .examination import Examination, failure


def checks(exam: Examination) -> Iterator[Check]:
    """Yields all checks. If none fails, every stage of the preparation has been carried out in the end."""
    yield from _to_the_end(exam, chain(_beginning(exam), _rest(exam, _servers)))


def checks_here(exam: Examination) -> Iterator[Check]:
    """Yields the checks of what the controller of a load on hosts does itself: it lists and selects the images."""
    yield from _beginning(exam)
    settings, preparation = exam.settings, exam.preparation
    lists = settings.image_list is None
    asked = [settings.registry] if lists else []
    connected = yield from exam.carry_out("credentials", preparation.connections)
    if connected and (yield from registries.ways(exam, asked)):
        upstream_answers = lists and (yield from registries.upstream(exam))
        chosen = yield from images.selection(exam, upstream_answers)
        if lists:
            yield from registries.credentials(exam, asked)
        if chosen and (yield from exam.carry_out("load", exam.preparation.plan)):
            yield from exam.carry_out("load", exam.preparation.schedule)
    yield from exam.carry_out("descriptors", preparation.beginning.descriptors)


def checks_of_host(exam: Examination) -> Iterator[Check]:
    """Yields the checks of a host, whose images the controller has selected.

    If there are none, nothing is pulled, and the other checks are carried out.
    """
    if "selection" in exam.preparation.values:
        yield from _to_the_end(exam, _rest(exam, _servers_of_host))
    else:
        yield from _rest(exam, _servers_of_host)


def _to_the_end(exam: Examination, found: Iterable[Check]) -> Iterator[Check]:
    """Yields these checks. If none fails, carries out what is left of the preparation."""
    well = True
    for check in found:
        well &= check.status != FAILURE
        yield check
    if well and (
        yield from exam.carry_out("preparation", lambda: exam.preparation.carry_out(lambda _: None))
    ):
        yield from images.sizes(exam)


def _beginning(exam: Examination) -> Iterator[Check]:
    yield from _start(exam)
    yield from _files(exam)
    yield from _endpoint(exam)


def _rest(exam: Examination, servers: Callable[[Examination], Iterator[Check]]) -> Iterator[Check]:
    room = yield from exam.carry_out("room", exam.preparation.scratch)
    if room:
        yield from _clients(exam)
    # after the clients, which differ in where they look for logins first
    connected = yield from exam.carry_out("credentials", exam.preparation.connections)
    if connected:
        yield from servers(exam)
    yield from _machine(exam, room)


def _start(exam: Examination) -> Iterator[Check]:
    stage = exam.preparation.beginning.start_at
    if not (yield from exam.carry_out("start", stage, "or leave --start-at out to begin at once")):
        exam.changes["--start-at"] = None
        return
    text, when, now = exam.settings.start_at, stage(), datetime.now().astimezone()
    late = late_hint(text, when, now) if text and when else None
    if late is not None:
        yield Check("start", WARNING, late)
    elif when is not None:
        minutes = max(0, round((when - now).total_seconds() / 60))
        yield Check("start", OK, f"{when.isoformat(sep=' ')}, in {minutes // 60} h {minutes % 60} min")


def _files(exam: Examination) -> Iterator[Check]:
    beginning, settings = exam.preparation.beginning, exam.settings
    if (yield from exam.carry_out("files", beginning.image_list)):
        listed = beginning.image_list()
        for hint in (*listed.hints, *listed.notes) if listed else ():
            yield Check("files", WARNING, hint)
    else:
        exam.undecided = True
    if not (yield from exam.carry_out("files", beginning.report)):
        exam.changes["--report-file"] = None
    refused = unwritable_files(settings)
    for option, message in refused.items():
        exam.changes[option] = None
        yield Check("files", FAILURE, message, "name another file, or leave the option out")
    if refused:
        exam.is_told(beginning.files)
    else:
        yield from exam.carry_out("files", beginning.files)
    named = [what for what, path in settings.written.items() if path != "-"]
    if named and not refused:
        missing = {str(folder): None for folder in beginning.files().values()}
        made = f"; a run makes the folder {', '.join(missing)}" if missing else ""
        yield Check("files", OK, f"{', '.join(named)} can be written{made}")


def _endpoint(exam: Examination) -> Iterator[Check]:
    listen = exam.settings.metrics_listen
    if listen is None:
        return
    well = yield from exam.carry_out("metrics", exam.preparation.endpoint)
    if not well:
        other = Listen(listen.host, 0)
        exam.mend("--metrics-listen", str(other), metrics_listen=other)
        if failure(exam.preparation.endpoint):
            exam.mend("--metrics-listen", None, metrics_listen=None)
    exam.preparation.around.lasting.close()  # the port is free again
    if well:
        yield Check("metrics", OK, f"can be served at {', '.join(exam.preparation.endpoint())}")


def _clients(exam: Examination) -> Iterator[Check]:
    if exam.settings.dry_run:
        yield Check("client", OK, "a dry run needs neither a client nor a server under test")
        return
    wanted = exam.settings.client
    well = yield from exam.carry_out("client", exam.preparation.found)
    found = exam.preparation.found() if well else None
    exam.undecided |= found is None and "/" in wanted  # a path to something else
    if found is not None:
        yield _client(found)
    chosen = "" if found is None else found.kind.name
    environment = client_environment(exam.preparation.scratch())
    for name in candidates(wanted):
        if name in (wanted, chosen):
            continue
        try:
            other = find_client(name, environment, exam.preparation.around.stopped)
        except RunError as error:
            if found is not None:
                yield Check("client", WARNING, f"{name}: {error}")
            continue
        yield _client(other)
        if found is None:  # the client that `auto` prefers is installed, but does not work
            found = other
            exam.mend("--client", name, client=name)


def _servers(exam: Examination) -> Iterator[Check]:
    dry = exam.settings.dry_run
    asked = not dry or exam.settings.image_list is None
    if not (yield from registries.ways(exam)):
        return
    upstream_answers = asked and (yield from registries.upstream(exam))
    chosen = yield from images.selection(exam, upstream_answers)
    answers = not dry and (yield from registries.server(exam))
    if answers or dry:
        yield from registries.mixed_up(exam)
    if asked:
        yield from registries.credentials(exam)
    if chosen and answers:
        yield from _trial(exam)


def _servers_of_host(exam: Examination) -> Iterator[Check]:
    dry = exam.settings.dry_run
    if not (yield from registries.ways(exam)):
        return
    answers = not dry and (yield from registries.server(exam))
    if answers or dry:
        yield from registries.mixed_up(exam)
    if not dry:
        yield from registries.credentials(exam)
    if answers and "selection" in exam.preparation.values:
        yield from _trial(exam)


def _trial(exam: Examination) -> Iterator[Check]:
    image = trial.trial_image(exam.preparation.selection())
    fits = yield from trial.layouts(exam, image)
    if fits and "found" in exam.preparation.values:
        yield from trial.pull_and_prune(exam, image)


def _machine(exam: Examination, room: bool) -> Iterator[Check]:
    if room:
        yield machine.room()
    selection = exam.preparation.values.get("selection")
    workers = len(selection.image_sets) if selection else 1
    if (yield from exam.carry_out("descriptors", exam.preparation.beginning.descriptors)):
        yield machine.descriptors(workers)
    yield from machine.limits(workers, limits())


def _client(found: Found) -> Check:
    return Check("client", OK, f"{found.kind.name} {found.executable.version}, {found.executable.path}")
