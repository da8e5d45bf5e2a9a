"""Signals as the run sees them."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import threading
import time

import pytest

from lib.errors import Stopped
from lib.http.network import Network
from lib.processes.signals import SIGNALS, Stop

SECONDS = 60.0


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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_heeded_while_the_main_thread_cannot_call_its_handler(number: signal.Signals) -> None:
    """Such as after a signal in the moment before the main thread begins to wait.

    Here another thread receives the signal: then it does not end the wait of the main thread either.
    """
    stop, woken = Stop(), queue.SimpleQueue[bool]()
    with stop.listening():
        ready = threading.Event()

        def receive() -> None:
            ready.wait()
            signal.pthread_kill(threading.get_ident(), number)

        thread = threading.Thread(target=receive)
        thread.start()
        with stop.calling(lambda: woken.put(True)):
            ready.set()
            assert woken.get(timeout=SECONDS)
        thread.join()


def test_no_callback_runs_after_its_context() -> None:
    stop, inside = Stop(), threading.Event()
    running = []

    def slow() -> None:
        running.append(True)
        inside.set()
        time.sleep(0.2)
        running.clear()

    with stop.calling(slow):
        thread = threading.Thread(target=stop.request, args=[signal.SIGINT])
        thread.start()
        inside.wait()
    assert running == []
    thread.join()


def test_other_signals_are_no_stop() -> None:
    stop = Stop()
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    with stop.listening():
        os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)
    assert stop.count == 0


def test_without_another_thread_the_handler_heeds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    stop = Stop()
    with stop.listening():
        os.kill(os.getpid(), signal.SIGINT)
    assert (stop.signal, stop.count) == (signal.SIGINT, 1)


def test_a_signal_ends_what_the_network_waits_for() -> None:
    stop = Stop()
    with Network(stop) as network, stop.listening():
        threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(Stopped):
            network.run_until_stop(asyncio.sleep(3600))
        with pytest.raises(Stopped):
            network.run_until_stop(asyncio.sleep(3600))
