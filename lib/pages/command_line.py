"""Shows the command line of a run: as typed, or rebuilt from the settings."""

from __future__ import annotations

import html
import shlex
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# The note under a rebuilt command line.
REBUILT = "Rebuilt from the settings, because the summary does not hold the command line."


def command_line(words: Sequence[str], settings: Mapping[str, Any]) -> tuple[str, bool]:
    """Returns (HTML, exact). If `words` is empty, an equivalent command line is rebuilt, and `exact` is False."""
    exact = bool(words)
    chosen = words or _rebuilt(settings)
    # a line may break between words, but not at the dashes of an option
    shown = " ".join(f"<span>{_visible(shlex.quote(word))}</span>" for word in chosen)
    return f"<pre>{shown}</pre>", exact


def _visible(text: str) -> str:
    return html.escape("".join(map(_numbered, text)))


def _numbered(char: str) -> str:
    """Returns the escape of a control or format character or line separator, as it could hide other text."""
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
    """Returns the option of a setting: `--pull-timeout` for `pull_timeout`."""
    return f"--{name.replace('_', '-')}"
