#!/usr/bin/env python3
"""Load-test a pull-through OCI registry with real clients. Everything is in lib/; see README.md."""

import os
import signal
import sys

# As a container's first process, it would never see these signals while modules are imported; `main` takes them over.
if os.getpid() == 1:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

# Ctrl-C while modules are still being imported ends the process, without a traceback; `main` takes it over.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

HERE = os.path.dirname(os.path.realpath(__file__))
NEEDED = (
    "aiohttp",
    "click",
    "dateutil",
    "hdrh",
    "msgspec",
    "platformdirs",
    "prometheus_client",
    "re2",
    "rich",
    "sh",
    "tenacity",
)


def use_installed_packages() -> None:
    """Go on in the checkout's .venv when this interpreter lacks a package; else say how to install them."""
    from importlib.util import find_spec

    missing = [name for name in NEEDED if find_spec(name) is None]
    if not missing:
        return
    python = os.path.join(HERE, ".venv", "bin", "python")
    inside = os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(HERE, ".venv"))
    if os.access(python, os.X_OK) and not inside:
        os.execv(python, [python, os.path.realpath(__file__), *sys.argv[1:]])  # noqa: S606
    requirements = os.path.join(HERE, "requirements.txt")
    venv = os.path.join(HERE, ".venv")
    by_hand = f"python3 -m venv {venv} && {venv}/bin/pip install -r {requirements}"
    install = f"run 'make -C {HERE} setup', or '{by_hand}'"
    print(f"ocidriver: missing Python packages ({', '.join(missing)}): {install}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    use_installed_packages()
    sys.path.insert(0, HERE)
    from lib.cli import main

    sys.exit(main())
