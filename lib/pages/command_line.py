"""The command line of a run, as it was typed or as good as."""

from __future__ import annotations

import html
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


def command_line(words: Sequence[str], settings: Mapping[str, Any]) -> tuple[str, bool]:
    """(as typed, True), or (what amounts to the same, False) if there are no words; HTML."""
    exact = bool(words)
    chosen = words or _rebuilt(settings)
    # a line breaks between words, not at the dashes of an option
    shown = " ".join(f"<span>{_visible(shlex.quote(word))}</span>" for word in chosen)
    return f"<pre>{shown}</pre>", exact


def _visible(text: str) -> str:
    return html.escape("".join(map(_numbered, text)))


def _numbered(char: str) -> str:
    """Control and format characters and line separators by their number, as they could hide what stands there."""
    hidden = unicodedata.category(char)[0] == "C" or unicodedata.category(char) in ("Zl", "Zp")
    return char.encode("unicode_escape").decode() if hidden else char


def _rebuilt(settings: Mapping[str, Any]) -> list[str]:
    words = ["ocidriver"]
    for name, value in settings.items():
        if value is True:
            words.append(option(name))
        elif isinstance(value, (list, tuple)):
            values = [",".join(map(str, value))] if name == "patterns" and value else value
            words.extend(f"{option(name)}={each}" for each in values)
        elif value is not None and value is not False:
            words.append(f"{option(name)}={value}")
    return words


def option(name: str) -> str:
    """A setting's name as it is typed."""
    return f"--{name.replace('_', '-')}"
