"""The main command's form: options under headings in the help, and advice about the options of other tools."""

from __future__ import annotations

from typing import Any, Final

import click

from .other_tools import advice_for
from .subcommands import SUBCOMMANDS

_PROGRAM: Final = "ocidriver"


class Section(click.Option):
    """An option with its heading in the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help lists its options under headings, in the order of their definition.

    For an unknown option that other load tools have, its error names the option to use instead.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            advice = advice_for(error.option_name, words)
            if advice is None:
                raise
            raise click.NoSuchOption(
                error.option_name, f"there is no option {error.option_name}; {advice}", ctx=ctx
            ) from None

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Other"), []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records, col_max=30)
        if ctx.info_name == _PROGRAM:  # a subcommand with the same options has no commands of its own
            with formatter.section("Commands, each with --help"):
                formatter.write_dl([(name, command.about) for name, command in SUBCOMMANDS.items()])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            formatter.write_text(self.epilog)
