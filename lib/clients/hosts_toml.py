"""`hosts.toml`, which tells ctr where to pull from. Source: containerd, docs/hosts.md."""

from __future__ import annotations

import json
from pathlib import Path

from .client import Orders
from .files import write_private


def write_hosts(orders: Orders) -> Path:
    """A folder with `_default/hosts.toml`, which counts for every name.

    Its top-level keys describe the server. ctr 1.6 and 1.7 refuse a file without `[host]`, and then ask the upstream.
    """
    tls, login = orders.tls, orders.logins.server
    lines = [f"server = {_toml(orders.server_url)}"]
    if not orders.verify:
        lines.append("skip_verify = true")
    if tls.client_cert is not None and tls.key is not None:
        lines.append(f"client = [[{_toml(tls.client_cert.absolute())}, {_toml(tls.key.absolute())}]]")
    headers = dict([orders.header]) if orders.header is not None else {}
    if login is not None and login.registry_token:
        headers["Authorization"] = f"Bearer {login.registry_token}"
    if headers:
        lines += ["[header]", *(f"{_toml(name)} = {_toml(value)}" for name, value in headers.items())]
    folder = orders.folder("hosts")
    default = folder / "_default"
    default.mkdir(mode=0o700, exist_ok=True)
    write_private(default / "hosts.toml", "\n".join([*lines, "[host]", ""]).encode())
    return folder


def _toml(value: object) -> str:
    """A basic string (TOML 1.0), which is one of JSON but for the delete character."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
