"""The entry point of the installed command. It holds back signals first, and only then imports the rest."""

import os
import signal

# As a container's first process, it would never see these signals while modules are imported; `main` takes them over.
if os.getpid() == 1:
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

# Ctrl-C while modules are still being imported ends the process, without a traceback; `main` takes it over.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> int:
    from .cli import main as carry_out

    return carry_out()
