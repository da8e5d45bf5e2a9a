"""The examination of one host, in the process of this host: what it finds goes to the controller as one message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clean import clean
from ..clients.find import Found
from ..hosts.protocol import Examined, Finding
from ..options.settings import Settings
from ..prepare import Beginning
from ..processes.signals import Stop
from ..results.summary import ClientInfo
from ..streams import LINE_LENGTH
from .check import Check
from .checks import checks_of_host
from .examining import examining


def examined(settings: Settings, values: Mapping[str, Any], stop: Stop) -> Examined:
    """Carries out the checks of this host and returns what they found. Raises `Stopped` after a stop.

    `values` are those of stages, by their names. A selection without any images counts as none.
    """
    given = {name: value for name, value in values.items() if name != "selection" or value.image_sets}
    beginning = Beginning(settings)
    beginning.values.update(given)
    with examining(beginning, stop, given) as exam:
        checks = [_finding(check) for check in checks_of_host(exam)]
        found = exam.preparation.values.get("found")
        return Examined(
            checks=checks,
            changes=exam.changes,
            undecided=exam.undecided,
            client=_client(found) if found else None,
        )


def _client(found: Found) -> ClientInfo:
    return ClientInfo(name=found.kind.name, version=found.executable.version)


def _finding(check: Check) -> Finding:
    return Finding(
        name=check.name,
        status=check.status,
        message=clean(check.message, LINE_LENGTH),
        advice=clean(check.advice, LINE_LENGTH),
    )
