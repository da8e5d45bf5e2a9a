"""Signals as the run sees them."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest

from lib.errors import Stopped
from lib.http.network import Network
from lib.processes.signals import SIGNALS, Stop


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_remembered_and_handlers_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGTERM)
    assert (stop.signal, stop.count) == (number, 2)
    assert signal.getsignal(number) is before


def test_waiting_ends_with_a_signal() -> None:
    stop = Stop()
    assert not stop.wait(0.01)
    threading.Timer(0.1, stop.request, [signal.SIGINT]).start()
    assert stop.wait(3600)
    assert stop.wait(3600)  # it came before


def test_a_signal_ends_what_the_network_waits_for() -> None:
    stop = Stop()
    with Network(stop) as network, stop.listening():
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(Stopped):
            network.run_until_stop(asyncio.sleep(3600))
        with pytest.raises(Stopped):
            network.run_until_stop(asyncio.sleep(3600))
