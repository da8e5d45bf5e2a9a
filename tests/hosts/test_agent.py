"""The agent of a host, without Dask: it begins a run once, passes orders on, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lib import __version__
from lib.hosts import agent as agents
from lib.hosts.agent import Agent, answer, idle, release
from lib.hosts.child import LONGEST_LINE
from lib.hosts.machine_lock import path_of
from lib.hosts.protocol import (
    PROTOCOL,
    TOPIC,
    Answer,
    Begun,
    Bye,
    ClockRead,
    Disarm,
    Done,
    Driving,
    Failed,
    Fetch,
    Hello,
    HostFacts,
    Lease,
    Pass,
    ReadClock,
    Request,
    decode_answer,
    encode,
)
from tests.support.hosts import LOCK, begin, content
from tests.support.processes import children, read_file, wait_until_gone
from tests.support.waiting import SECONDS

Asking = Callable[[Request], Awaitable[Answer]]
STAND_IN = (sys.executable, "-m", "tests.doubles.host_process")


class Worker:
    """Stands in for a Dask worker, and keeps its events."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[dict[str, str]] = asyncio.Queue()

    def log_event(self, topic: str, msg: dict[str, str]) -> None:
        assert topic == TOPIC
        self.events.put_nowait(msg)

    async def line(self) -> str:
        return (await asyncio.wait_for(self.events.get(), SECONDS))["line"]

    async def message(self) -> dict[str, Any]:
        body = json.loads(await self.line())["body"]
        assert isinstance(body, dict)
        return body


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The host process is a stand-in, and nothing of it is left at the end."""
    before = set(children(os.getpid()))
    monkeypatch.setattr(agents, "COMMAND", STAND_IN)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    yield
    wait_until_gone(set(children(os.getpid())) - before)
    assert list((tmp_path / "temporary").iterdir()) == []


def host_process() -> int:
    """The pid of the only stand-in that runs. Servers of other tests may be children of this process, too."""
    (pid,) = (each for each in children(os.getpid()) if STAND_IN[-1].encode() in read_file(each, "cmdline"))
    return pid


def played(scene: Callable[[Worker, Asking], Awaitable[None]]) -> None:
    """Plays a scene with an agent of its own."""

    async def play() -> None:
        agent, worker = Agent(), Worker()
        await scene(worker, lambda request: agent.answer(request, worker))

    asyncio.run(play())


async def until_ended(ask: Asking) -> Answer:
    """Passes an order on until that fails, and returns the answer."""
    for _ in range(round(SECONDS / 0.01)):
        if (given := await ask(Pass(run="one", order=Disarm()))) != Done():
            return given
        await asyncio.sleep(0.01)
    raise AssertionError("the host process does not end")


def test_it_says_what_the_host_is() -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    async def scene(worker: Worker, ask: Asking) -> None:
        facts = await ask(Hello())
        assert isinstance(facts, HostFacts)
        assert (facts.version, facts.protocol, facts.driving) == (__version__, PROTOCOL, None)
        assert min(facts.cores, facts.memory_bytes, facts.free_bytes, facts.descriptors) > 0
        assert boot_id in facts.machine
        clock = await ask(ReadClock())
        assert isinstance(clock, ClockRead)

    played(scene)


def test_orders_go_in_and_messages_come_out(tmp_path: Path) -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        begun = await ask(begin("one"))
        assert isinstance(begun, Begun)
        event = await worker.events.get()
        assert (event["run"], event["incarnation"]) == ("one", begun.incarnation)
        assert json.loads(event["line"])["body"]["line"] == "ready"
        assert await ask(Pass(run="one", order=Lease(acked=0))) == Done()
        assert json.loads((await worker.message())["text"]) == {"order": "lease", "acked": 0, "stop": 0}
        facts = await ask(Hello())
        assert isinstance(facts, HostFacts)
        assert facts.driving is not None
        assert (facts.driving.run, facts.driving.by) == ("one", "tester")
        assert await ask(Bye("one")) == Done()
        assert json.loads((await worker.message())["text"]) == {"order": "leave"}
        facts = await ask(Hello())
        assert isinstance(facts, HostFacts)
        assert facts.driving is None

    played(scene)


def test_a_run_begins_once(tmp_path: Path) -> None:
    counter = tmp_path / "counter"

    async def scene(worker: Worker, ask: Asking) -> None:
        request = begin("one", {"counter": str(counter)})
        answers = await asyncio.gather(ask(request), ask(request))
        assert sorted(type(each).__name__ for each in answers) == ["Begun", "Failed"]
        assert await ask(Bye("one")) == Done()
        assert await ask(request) == Failed("this host has begun this run before, and does so only once")
        assert isinstance(await ask(begin("two", {"counter": str(counter)})), Begun)
        assert await ask(Bye("two")) == Done()
        assert await ask(Bye("two")) == Done()

    played(scene)
    assert len(counter.read_text().splitlines()) == 2


def test_a_machine_drives_one_run_at_a_time() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one")), Begun)
        other = Agent()
        refused = await other.answer(begin("two"), worker)
        assert isinstance(refused, Failed)
        assert isinstance(refused.driving, Driving)
        assert (refused.driving.run, refused.driving.by) == ("one", "tester")
        assert path_of(LOCK).stat().st_mode & 0o777 == 0o600
        assert isinstance(await other.answer(begin("three", lock="another"), worker), Begun)
        assert await ask(Bye("one")) == Done()
        assert isinstance(await other.answer(begin("two"), worker), Begun)
        for run in ("two", "three"):
            assert await other.answer(Bye(run), worker) == Done()

    played(scene)


def test_the_lock_lives_as_long_as_what_the_host_process_started() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"child": 1.5})), Begun)
        assert (await worker.message())["line"] == "ready"
        pid = host_process()
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert isinstance(await ask(begin("two")), Failed)
        assert await ask(Bye("one")) == Done()  # waits until the lock is free
        assert isinstance(await ask(begin("three")), Begun)
        assert await ask(Bye("three")) == Done()

    played(scene)


def test_locks_of_workers_that_were_killed_are_removed() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        stale, strange = path_of("stale"), path_of("strange").with_suffix(".other")
        for path in (stale, strange):
            path.write_text("{}")
        assert isinstance(await ask(begin("one")), Begun)
        other = Agent()
        assert isinstance(await other.answer(begin("two", lock="another"), worker), Begun)
        assert not stale.exists()
        assert strange.exists()
        assert path_of(LOCK).exists()
        for agent, run in ((None, "one"), (other, "two")):
            assert await (ask(Bye(run)) if agent is None else agent.answer(Bye(run), worker)) == Done()
        strange.unlink()

    played(scene)


def test_it_follows_no_link_to_a_lock(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")

    async def scene(worker: Worker, ask: Asking) -> None:
        path_of(LOCK).symlink_to(victim)
        refused = await ask(begin("one"))
        assert isinstance(refused, Failed)
        assert refused.reason.startswith("cannot lock this machine: ")
        path_of(LOCK).unlink()

    played(scene)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"exit": 7}, "the host process ended with status 7"),
        ({"exit": 1, "say": "no\x1b[31m crane"}, "the host process ended with status 1: no [31m crane"),
    ],
)
def test_it_tells_how_the_host_process_ended(options: dict[str, Any], told: str) -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", options)), Begun)
        given = await until_ended(ask)
        assert given == Failed(told, ended=True)
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_it_tells_which_signal_killed_the_host_process() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one")), Begun)
        pid = host_process()
        os.kill(pid, signal.SIGKILL)
        given = await until_ended(ask)
        assert given == Failed("the host process was killed by SIGKILL", ended=True)
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_it_does_not_know_a_run_of_a_worker_before_it() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        given = await ask(Pass(run="one", order=Disarm()))
        assert isinstance(given, Failed)
        assert given.ended
        assert isinstance(await ask(Fetch(run="one", what="log", offset=0)), Failed)
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_long_messages_pass() -> None:
    length = 2 << 20

    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"line": length})), Begun)
        assert (await worker.message())["line"] == "ready"
        assert (await worker.message())["text"] == "x" * length
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_an_endless_message_ends_the_host_process() -> None:
    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"line": LONGEST_LINE})), Begun)
        assert (await worker.message())["line"] == "ready"
        given = await until_ended(ask)
        assert isinstance(given, Failed)
        assert given.reason.endswith("it sent a message of more than 32 MiB")
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_a_long_first_order_delays_nobody() -> None:
    """The pipe holds 64 KiB. A host process that does not read is the worst case."""

    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"padding": "x" * (4 << 20)})), Begun)
        assert isinstance(await ask(ReadClock()), ClockRead)
        assert (await worker.message())["line"] == "ready"
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_files_come_in_chunks() -> None:
    events = "".join(f"{number}\n" for number in range(300_000))

    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"events": events})), Begun)
        assert (await worker.message())["line"] == "ready"
        assert content(await ask(Fetch(run="one", what="log", offset=0))) == b"the log\n"
        text, offset, chunks = b"", 0, 0
        while offset < len(events):
            chunk = await ask(Fetch(run="one", what="events", offset=offset))
            text += content(chunk)
            offset = chunk.next  # type: ignore[union-attr]
            chunks += 1
        assert text.decode() == events
        assert chunks == 2
        assert await ask(Bye("one")) == Done()

    played(scene)


def test_a_host_process_that_does_not_leave_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_LEAVE_SECONDS", 0.2)

    async def scene(worker: Worker, ask: Asking) -> None:
        assert isinstance(await ask(begin("one", {"stubborn": True})), Begun)
        assert (await worker.message())["line"] == "ready"
        assert await ask(Bye("one")) == Done()

    played(scene)
    folder = Path(tempfile.gettempdir())
    for left in folder.iterdir():  # of the stand-in, which had no time to remove it
        for each in left.iterdir():
            each.unlink()
        left.rmdir()


def test_a_command_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "COMMAND", ("/nowhere/python",))

    async def scene(worker: Worker, ask: Asking) -> None:
        assert await ask(begin("one")) == Failed(
            "cannot start the host process: /nowhere/python: No such file or directory"
        )
        assert not path_of(LOCK).exists()

    played(scene)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "cannot read the request, which may come from another version of ocidriver: "),
        ('{"ask":"dance"}', "cannot read the request, which may come from another version of ocidriver: "),
    ],
)
def test_it_answers_nonsense(text: str, told: str) -> None:
    given = decode_answer(asyncio.run(answer(text, dask_worker=None)))
    assert isinstance(given, Failed)
    assert given.reason.startswith(told)


def test_an_exception_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr(agents, "host_facts", broken)
    given = asyncio.run(answer(encode(Hello()).decode(), dask_worker=None))
    assert decode_answer(given) == Failed("RuntimeError: oh")


def test_a_hold_ends_when_it_is_released() -> None:
    async def scene() -> None:
        held = asyncio.create_task(idle("a"))
        await asyncio.sleep(0)
        await release("b")
        await asyncio.sleep(0)
        assert not held.done()
        await release("a")
        await asyncio.wait_for(held, SECONDS)

    asyncio.run(scene())


def test_a_hold_ends_when_nobody_asks_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_HOLD_SECONDS", 0.05)
    asyncio.run(asyncio.wait_for(idle("a"), SECONDS))
