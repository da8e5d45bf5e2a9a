"""How the kernel shares out the CPU among the workers and the clients that they start."""

from __future__ import annotations

import os
from contextlib import suppress


def preempt_nobody() -> None:
    """This thread, and what it starts from now on, waits for its turn when it wakes up: SCHED_BATCH of sched(7).

    Where all CPU is in use there are fewer switches from client to client, and a twentieth more pulls with four workers
    on two cores; where there is some to spare nothing changes. A policy that the user has chosen (chrt) stays.
    """
    with suppress(OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
