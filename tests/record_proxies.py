"""Records how Go's net/http reaches servers with each set of proxy variables: `python -m tests.record_proxies`.

It builds `tests/doubles/go_way` with the `go` on PATH, and writes its answers beside it. Record again when a
client is built with a new version of Go. `lib/http/proxies.py` is then checked against the new answers.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent / "doubles" / "go_way" / "main.go"
RECORDED = SOURCE.with_name("answers.json")

P = "http://proxy.example:3128"
REG, CORP = "http://reg.example:5000/v2/", "http://cache.corp.example:5000/v2/"
TEN, V6 = "http://10.1.2.3:5000/v2/", "http://[2001:db8::5]:5000/v2/"


def named(value: str, *urls: str) -> tuple[dict[str, str], list[str]]:
    """The value of HTTP_PROXY and HTTPS_PROXY."""
    return {"HTTP_PROXY": value, "HTTPS_PROXY": value}, [*(urls or (REG, REG.replace("http:", "https:")))]


def excepted(value: str, *urls: str) -> tuple[dict[str, str], list[str]]:
    """The value of NO_PROXY."""
    return {"HTTP_PROXY": P, "NO_PROXY": value}, [*(urls or (REG, CORP, TEN))]


CASES: Sequence[tuple[Mapping[str, str], Sequence[str]]] = [
    # which variable counts
    ({}, [REG]),
    ({"HTTP_PROXY": P}, [REG, REG.replace("http:", "https:")]),
    ({"HTTPS_PROXY": P}, [REG, REG.replace("http:", "https:")]),
    ({"http_proxy": P}, [REG]),
    ({"https_proxy": P}, ["https://reg.example/v2/"]),
    ({"HTTP_PROXY": P, "http_proxy": "http://other.example:1"}, [REG]),
    ({"HTTP_PROXY": "", "http_proxy": "http://other.example:1"}, [REG]),
    ({"HTTPS_PROXY": P, "https_proxy": "http://other.example:1"}, ["https://reg.example/v2/"]),
    ({"HTTP_PROXY": P, "NO_PROXY": "reg.example", "no_proxy": "corp.example"}, [REG, CORP]),
    ({"HTTP_PROXY": P, "NO_PROXY": "", "no_proxy": "corp.example"}, [REG, CORP]),
    ({"ALL_PROXY": P, "all_proxy": P}, [REG, "https://reg.example/v2/"]),
    ({"HTTP_PROXY": P, "REQUEST_METHOD": "GET"}, [REG, "https://reg.example/v2/"]),
    ({"http_proxy": P, "REQUEST_METHOD": "GET"}, [REG, "http://localhost:5000/v2/"]),
    ({"HTTP_PROXY": P, "REQUEST_METHOD": ""}, [REG]),
    ({"HTTPS_PROXY": P, "REQUEST_METHOD": "GET"}, ["https://reg.example/v2/"]),
    # the forms of an address
    named("proxy.example:3128"),
    named("proxy.example"),
    named("proxy"),
    named("proxy:3128"),
    named("10.0.0.1:3128"),
    named("[2001:db8::9]:3128"),
    named("http://[2001:db8::9]"),
    named("http://proxy.example/"),
    named("http://proxy.example:3128/path?query#fragment"),
    named("HTTP://Proxy.Example:3128"),
    named("https://proxy.example"),
    named("https://proxy.example:3129"),
    named("socks5://proxy.example"),
    named("socks5h://proxy.example:1081"),
    named("socks5://bob:pw@proxy.example"),
    named("bob:pw@proxy.example:3128"),
    named("http://bob:pw@proxy.example:3128"),
    named("http://bob@proxy.example:3128"),
    named("http://bob:p%40w%3A%2F@proxy.example:3128"),
    named("http://bob:p:w@proxy.example:3128"),
    named("http://corp%5Cbob:pw@proxy.example:3128"),
    named("http://bob:p@w@proxy.example:3128"),
    named("ftp://proxy.example:21"),
    # what Go ignores or takes for something else
    named("http://"),
    named("://proxy.example"),
    named("//proxy.example:3128"),
    named(" http://proxy.example:3128"),
    named("http://proxy.example:3128 "),
    named("http://proxy.example:3128\n"),
    named("http://proxy.example:port"),
    named("http://proxy.example:"),
    named("http://[::1"),
    named("http://bob:p^w@proxy.example:3128"),
    named("http://bob:p%w@proxy.example:3128"),
    named("http:///proxy.example"),
    named("a b"),
    named("none"),
    # loopback, whatever the variables say
    named(P, "http://localhost:5000/", "http://127.0.0.1:5000/", "http://127.255.0.9/", "http://[::1]:5000/"),
    named(P, "http://[::ffff:127.0.0.1]:5000/", "http://localhost.:5000/", "http://x.localhost:5000/"),
    named(P, "http://0.0.0.0:5000/", "http://[::]:5000/", "http://127.1:5000/", "http://169.254.1.1/"),
    # NO_PROXY: names
    excepted("reg.example"),
    excepted("corp.example"),
    excepted("cache.corp.example"),
    excepted(".corp.example", CORP, "http://corp.example:5000/"),
    excepted("*.corp.example", CORP, "http://corp.example:5000/"),
    excepted("corp.example", "http://corp.example:5000/", "http://notcorp.example:5000/"),
    excepted("example"),
    excepted("EXAMPLE"),
    excepted("*example", REG),
    excepted("*.*.example", CORP),
    excepted("reg*", REG),
    excepted("reg.example.", REG, "http://reg.example.:5000/"),
    excepted("REG.Example", REG, "http://Reg.EXAMPLE:5000/"),
    excepted("reg", REG, "http://reg:5000/"),
    excepted("b\u00fccher.example", "http://xn--bcher-kva.example/", "http://b\u00fccher.example/"),
    excepted(".b\u00fccher.example", "http://a.xn--bcher-kva.example/"),
    excepted("*"),
    excepted("reg.example,*"),
    excepted(" other.example , reg.example "),
    excepted("other.example reg.example"),
    excepted(",,reg.example,"),
    excepted("."),
    excepted("*."),
    excepted("http://reg.example", REG),
    excepted("localhost,127.0.0.1"),
    # NO_PROXY: ports
    excepted("reg.example:5000"),
    excepted("reg.example:80", REG, "http://reg.example/"),
    excepted("reg.example:443", "https://reg.example/"),
    excepted(".corp.example:5000", CORP, "http://cache.corp.example/"),
    excepted("*.corp.example:5000", CORP, "http://cache.corp.example/"),
    excepted("10.1.2.3:5000", TEN, "http://10.1.2.3/"),
    excepted("[2001:db8::5]:5000", V6, "http://[2001:db8::5]/"),
    excepted("*:5000"),
    excepted(":5000"),
    # NO_PROXY: addresses
    excepted("10.0.0.0/8", TEN, "http://11.1.2.3:5000/"),
    excepted("10.1.2.3"),
    excepted("10.1.2.3/32"),
    excepted("10.1.2.0/24:5000", TEN),
    excepted("10.1.0.0/33", TEN),
    excepted("10.0.0.0/255.0.0.0", TEN),
    excepted("10.1.2", TEN),
    excepted("10.1.2.*", TEN),
    excepted("010.1.2.3", TEN),
    excepted("0.0.0.0/0", REG, TEN, V6),
    excepted("2001:db8::/32", V6, "http://[2001:db9::5]:5000/"),
    excepted("2001:db8::5", V6),
    excepted("[2001:db8::5]", V6),
    excepted("::/0", V6, TEN),
    excepted("::ffff:10.0.0.0/104", TEN),
    excepted("::ffff:10.1.2.3", TEN),
    excepted("10.0.0.0/8", "http://[::ffff:10.1.2.3]:5000/"),
    excepted("fe80::/10", "http://[fe80::1]:5000/"),
    excepted("reg.example, 172.16.0.0/12, .corp.example", REG, CORP, TEN, "http://172.16.9.9/"),
]


def ask_go(program: Path, env: Mapping[str, str], urls: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yields what Go answers to each URL."""
    done = subprocess.run([program, *urls], env=dict(env), capture_output=True, text=True, check=True)
    for url, line in zip(urls, done.stdout.splitlines(), strict=True):
        yield {"env": dict(env), "url": url, **json.loads(line)}


def build(folder: Path) -> Path:
    program = folder / "way"
    subprocess.run(["go", "build", "-o", program, SOURCE], check=True)
    return program


def go_version() -> str:
    return subprocess.run(
        ["go", "env", "GOVERSION"], capture_output=True, text=True, check=True
    ).stdout.strip()


def rows(program: Path) -> list[dict[str, Any]]:
    return [row for env, urls in CASES for row in ask_go(program, env, urls)]


def record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {"go": go_version(), "rows": rows(build(Path(folder)))}
    lines = ",\n".join(json.dumps(row, ensure_ascii=True) for row in found["rows"])
    RECORDED.write_text(f'{{"go": {json.dumps(found["go"])}, "rows": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    record()
