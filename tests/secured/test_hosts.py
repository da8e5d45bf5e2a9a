"""A load on a host, with logins and a client certificate: all that goes over the wire to the scheduler."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from lib.lab.servers import Server
from tests.doubles.certificates import Certificate
from tests.doubles.secured import LISTER, PULLER, kept_in_docker
from tests.support.driving import drive
from tests.support.hosts import cluster
from tests.support.secured_runs import World, apart, servers, told

pytest.importorskip("distributed")


class Relay:
    """Passes on what comes to `port`, and records all bytes of both directions."""

    def __init__(self, to: str) -> None:
        self.recorded = bytearray()
        self.port = 0
        self._to = urlsplit(to)
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[None]:
        server = self._loop.run_until_complete(asyncio.start_server(self._pass_on, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        thread = threading.Thread(target=self._loop.run_forever)
        thread.start()
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection(self._to.hostname, self._to.port)
        await asyncio.gather(self._copy(reader, behind[1]), self._copy(behind[0], writer))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                self.recorded += data
                writer.write(data)
                await writer.drain()
        writer.close()


def test_no_secret_goes_to_a_host_or_comes_from_one(
    world: World,
    upstream: Server,
    cache: Server,
    member: Certificate,
    skopeo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    users = {upstream.address: LISTER, cache.address: PULLER}
    environment = {
        **apart(tmp_path),
        **kept_in_docker(tmp_path, users),
        "DASK_DISTRIBUTED__COMM__COMPRESSION": "False",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with cluster(tmp_path, ["a"]) as dask:
        relay = Relay(dask.address)
        with relay.running():
            ended = drive(
                tmp_path, f"--hosts=tcp://127.0.0.1:{relay.port}", *servers(cache, upstream), "--layout=distribution",
                "--patterns=-0001,-0002", "--passes=1", "--tally-seconds=0.3", f"--ca-file={world.authority.path}",
                f"--client-cert={member.path}", f"--client-key={member.key}", f"--client={skopeo}",
            )  # fmt: skip
    assert (ended.status, told(ended)) == (0, "")
    assert (ended.summary["failed"], ended.summary["pulled"]) == (0, len(world.images))
    assert b'"order":"begin"' in relay.recorded
    assert b'"line":"piece"' in relay.recorded
    _, *key, _ = member.key.read_bytes().split()
    secrets = [PULLER.password, PULLER.basic, LISTER.password, LISTER.basic]
    for secret in [*map(str.encode, secrets), *key]:
        if len(secret) > 10:
            assert secret not in relay.recorded
