"""The command line: turns options into Settings and exceptions into exit statuses. Only a run imports heavy modules."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from . import __version__
from .errors import ExitStatus, RunError, UsageError
from .fault import fault_line
from .options.definitions import OPTIONS
from .options.files import check_apart
from .options.sections import SectionedCommand
from .options.settings import make_settings
from .options.subcommands import SUBCOMMANDS
from .options.usage import EXAMPLES, called
from .processes.first_process import stand_in_as_first_process
from .streams import open_standard_descriptors, say
from .user_files import named

_COMPLETE = "_OCIDRIVER_COMPLETE"

ABOUT = """Load-test a pull-through OCI registry with the clients that engineers use.

The driver lists the images of the upstream and distributes them among its workers. It starts one worker after the
other, and stops them in reverse order. Each worker pulls its images through the server under test, again and again.
Once through all of them is a pass. The driver measures rate and latency over time."""


def load_test(**options: Any) -> int:
    """Runs the load test and returns its exit status."""
    settings = make_settings(options)
    from .run import run

    words, show = click.get_current_context().obj
    if settings.hosts is None:
        return run(settings, (called(), *words), show=show)
    from .run_on_hosts import carrying_out

    return run(settings, (called(), *words), show=show, carry_out=carrying_out(options))


def _command() -> click.Command:
    command = SectionedCommand(
        "ocidriver",
        callback=load_test,
        params=list(OPTIONS),
        help=ABOUT,
        epilog=EXAMPLES,
        context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    )
    return click.version_option(__version__, "-V", "--version", prog_name="ocidriver")(command)


def _completion() -> click.Group:
    """Returns options and subcommands as one click group, the form that click's shell completion needs."""
    commands = {name: subcommand.load() for name, subcommand in SUBCOMMANDS.items()}
    return click.Group("ocidriver", commands, invoke_without_command=True, params=list(OPTIONS))


def _subcommand(name: str) -> click.Command:
    if name not in SUBCOMMANDS:
        raise UsageError(
            f"unknown command '{name}'; use {', '.join(SUBCOMMANDS)}, or for the load test only options "
            "(see ocidriver --help)"
        )
    return SUBCOMMANDS[name].load()


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: carries out `arguments`, by default those of the process, and returns the exit status."""
    if arguments is None and os.getpid() == 1:
        status = stand_in_as_first_process()
        if status is not None:
            return status
    words = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    subcommand = not words[0].startswith("-")
    if signal.getsignal(signal.SIGINT) in (signal.SIG_DFL, signal.default_int_handler):
        # before the run handles Ctrl-C itself, it simply ends the process: there is nothing to clean up yet
        signal.signal(signal.SIGINT, signal.default_int_handler if subcommand else signal.SIG_DFL)
    # a parent may have left SIGCHLD ignored; the kernel would then hide the exit statuses of the clients
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    open_standard_descriptors()
    return carry_out(words)


def carry_out(words: Sequence[str], *, show: bool = True) -> int:
    """Carries out a command line and returns the exit status. An error is one line on stderr.

    `show`: a load test shows its result at its end.
    """
    try:
        if _COMPLETE in os.environ:
            result = _completion().main(
                [], prog_name="ocidriver", complete_var=_COMPLETE, standalone_mode=False
            )
        elif words[0].startswith("-"):
            result = _invoke(_command(), "ocidriver", words, obj=(tuple(words), show))
        else:
            result = _invoke(_subcommand(words[0]), f"ocidriver {words[0]}", words[1:])
        return int(result or 0)
    except click.exceptions.Exit as error:  # --help, --version
        return error.exit_code
    except click.ClickException as error:
        say(f"{_one_line(error)} (see {_command_of(error)} --help)")
        return ExitStatus.USAGE
    except UsageError as error:
        say(str(error))
        return ExitStatus.USAGE
    except RunError as error:
        say(str(error))
        return ExitStatus.FAILED
    except (KeyboardInterrupt, click.Abort):
        return 130
    except BrokenPipeError:
        # the reader of stdout is gone; the interpreter must not fail when it flushes the buffer at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return ExitStatus.FAILED
    except OSError as error:
        say(f"the command cannot continue: {named(error)}")
        return ExitStatus.FAILED
    except Exception as error:
        say(fault_line(error))
        return ExitStatus.FAILED


def _invoke(command: click.Command, name: str, words: Sequence[str], obj: object = None) -> Any:
    """Parses the words and carries out the command, unless it would write to a file that it reads."""
    with command.make_context(name, list(words), obj=obj) as context:
        check_apart(context)
        return command.invoke(context)


def check_load_test(words: Sequence[str]) -> None:
    """Raises the error that a load test with these options would end with before it begins."""
    with _command().make_context("ocidriver", list(words)) as context:
        check_apart(context)
        make_settings(context.params)


def _command_of(error: click.ClickException) -> str:
    context = error.ctx if isinstance(error, click.UsageError) else None
    return context.command_path if context is not None else "ocidriver"


def _one_line(error: click.ClickException) -> str:
    return " ".join(error.format_message().split()).rstrip(".")
