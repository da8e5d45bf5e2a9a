"""--hosts and what belongs to it: valid values, defaults, and one line for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lib.errors import UsageError
from lib.options.hosts import DEFAULTS, Hosts, parse_hosts


def parsed(**options: Any) -> Hosts:
    found = parse_hosts({**DEFAULTS, **options})
    assert found is not None
    return found


def refused(**options: Any) -> str:
    with pytest.raises(UsageError) as raised:
        parse_hosts({**DEFAULTS, **options})
    text = str(raised.value)
    assert "\n" not in text
    return text


def test_no_hosts() -> None:
    assert parse_hosts(DEFAULTS) is None


@pytest.mark.parametrize(
    ("text", "local", "least", "encrypted", "loopback"),
    [
        ("tcp://control:8786", None, 1, False, False),
        ("tls://control:8786", None, 1, True, False),
        ("tls://control:8786/", None, 1, True, False),
        (" tcp://127.0.0.1:8786 ", None, 1, False, True),
        ("tcp://127.9.9.9:8786", None, 1, False, True),
        ("tcp://localhost:8786", None, 1, False, True),
        ("tcp://[::1]:8786", None, 1, False, True),
        ("tcp://[fe80::1]:8786", None, 1, False, False),
        ("tcp://10.127.0.1:8786", None, 1, False, False),
        ("tcp://127.evil.example:8786", None, 1, False, False),
        ("local:1", 1, 1, False, True),
        ("local:256", 256, 256, False, True),
    ],
)
def test_addresses(text: str, local: int | None, least: int, encrypted: bool, loopback: bool) -> None:
    found = parsed(hosts=text)
    assert (found.address, found.local, found.least) == (text.strip(), local, least)
    assert (found.is_encrypted, found.is_loopback) == (encrypted, loopback)
    assert (found.seconds, found.lost) == (60.0, 0)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "control",
            "control:8786",
            "http://control:8786",
            "tcp://",
            "tcp://:8786",
            "tcp://a:8786/b",
            "tcp://a:b",
        ),
        *(
            "tcp://u:p@control:8786",
            "tcp://[broken",
            "tcp://a:99999",
            "ucx://a:1",
            "local",
            "local:",
            "local:x",
        ),
        *("local:-1", "local:1.5", "local:\u0661", "", "TCP//a:1"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    told = refused(hosts=text)
    assert told.startswith("--hosts: ")
    assert "is not the address of a Dask scheduler; give tls://HOST:PORT, tcp://HOST:PORT or local:N" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"hosts": "tcp://control"},
            "--hosts: 'tcp://control' has no port; give that of the Dask scheduler, usually 8786",
        ),
        ({"hosts": "local:0"}, "--hosts: local:0 is out of range; give local:1 to local:256"),
        ({"hosts": "local:257"}, "--hosts: local:257 is out of range; give local:1 to local:256"),
        (
            {"hosts": "local:2", "min_hosts": 3},
            "--hosts local:2 has fewer hosts than --min-hosts 3; give a larger local:N",
        ),
        ({"min_hosts": 2}, "--min-hosts needs --hosts; give --hosts, or leave it out"),
        ({"hosts_timeout": 5.0}, "--hosts-timeout needs --hosts; give --hosts, or leave it out"),
        ({"lost_hosts": 1}, "--lost-hosts needs --hosts; give --hosts, or leave it out"),
        ({"hosts_ca_file": Path("ca")}, "--hosts-ca-file needs --hosts; give --hosts, or leave it out"),
        (
            {"hosts": "tcp://control:1", "hosts_ca_file": Path("ca")},
            "--hosts-ca-file needs a scheduler with TLS; give --hosts tls://HOST:PORT, or leave it out",
        ),
        (
            {"hosts": "local:2", "hosts_cert": Path("c")},
            "--hosts-cert needs a scheduler with TLS; give --hosts tls://HOST:PORT, or leave it out",
        ),
        (
            {"hosts": "tls://control:1", "hosts_key": Path("k")},
            "--hosts-key needs --hosts-cert; give the certificate that belongs to the key",
        ),
        (
            {"hosts": "tls://control:1", "hosts_ca_file": Path("/none/ca")},
            "--hosts-ca-file: cannot read /none/ca: No such file or directory; give a PEM file",
        ),
    ],
)
def test_mistakes(options: dict[str, Any], told: str) -> None:
    assert refused(**options) == told


def test_files_for_tls(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("hosts_ca_file", "hosts_cert", "hosts_key")}
    for path in paths.values():
        path.touch()
    found = parsed(hosts="tls://control:8786", **paths)
    assert found.as_json() == {
        "hosts": "tls://control:8786",
        "min_hosts": 1,
        "lost_hosts": 0,
        **{name: str(path) for name, path in paths.items()},
    }


def test_fewer_local_hosts_than_there_are() -> None:
    assert parsed(hosts="local:3", min_hosts=2).least == 2


def test_settings_without_files() -> None:
    assert parsed(hosts="local:3", lost_hosts=1).as_json() == {
        "hosts": "local:3",
        "min_hosts": 3,
        "lost_hosts": 1,
    }
