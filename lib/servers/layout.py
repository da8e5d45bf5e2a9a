"""The layout: how the server under test names an upstream's images.

A `Layout` is the user's choice: a preset or a template. From it, `plan_route` makes a `Route` for one client and one
set of images: the references for the client, and a header or the gateway if needed.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from ..errors import UsageError
from ..names import valid_repository

OCIREGISTRY = "ociregistry"
_PLAIN = "{pullthrough}/{repository}"
# The template of the preset `direct`.
DIRECT = "{upstream}/{repository}"
_PRESETS = {"distribution": _PLAIN, "zot": _PLAIN, "direct": DIRECT}
_PRESETS_WITH_PREFIX = {
    "harbor": "PROJECT",
    "nexus": "REPO",
    "artifactory": "KEY",
    "quay": "ORG",
    "ecr": "PREFIX",
    "acr": "TARGET",
    "gar": "PROJECT/REMOTE",
}
_FIELDS = {"pullthrough", "upstream", "repository"}


@dataclass(frozen=True, slots=True)
class Layout:
    """A naming scheme: `name` is what the user gave; `template` has {pullthrough}, {upstream} and {repository}."""

    name: str
    template: str

    @property
    def is_ociregistry(self) -> bool:
        """Whether the server is Ociregistry, for which the route depends on client and images."""
        return self.name == OCIREGISTRY

    @property
    def is_upstream(self) -> bool:
        """Whether the clients pull from the upstream itself."""
        return self.template.startswith("{upstream}")

    @property
    def names_upstream(self) -> bool:
        """Whether each reference can name an upstream of its own."""
        return self.is_ociregistry or "{upstream}" in self.template.partition("/")[2]


def parse_layout(text: str) -> Layout:
    """Parses a preset's name or a template. Raises UsageError for anything else."""
    text = text.strip()
    if text == OCIREGISTRY:
        return Layout(text, _PLAIN)
    if text in _PRESETS:
        return Layout(text, _PRESETS[text])
    preset, colon, prefix = text.partition(":")
    if preset in _PRESETS_WITH_PREFIX and "{" not in text:
        return _with_prefix(text, preset, prefix.strip("/") if colon else "")
    if "{" in text:
        return _from_template(text)
    names = [OCIREGISTRY, *_PRESETS, *(f"{name}:{what}" for name, what in _PRESETS_WITH_PREFIX.items())]
    raise UsageError(
        f"--layout: '{text}' is not a preset or a template; use {', '.join(names)}, "
        "or a template such as '{pullthrough}/my-proxy/{repository}'"
    )


def _with_prefix(text: str, preset: str, prefix: str) -> Layout:
    what = _PRESETS_WITH_PREFIX[preset]
    if not prefix or prefix.count("/") != what.count("/"):
        raise UsageError(f"--layout {preset} needs its {what}: {preset}:{what}")
    layout = Layout(text, f"{{pullthrough}}/{prefix}/{{repository}}")
    _check_sample(layout)
    return layout


def _from_template(text: str) -> Layout:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"--layout: cannot read the template '{text}': {error}") from error
    used = {name for _, name, _, _ in parts if name is not None}
    plain = all(not spec and not conversion for _, _, spec, conversion in parts)
    hosted = text.startswith(("{pullthrough}/", "{upstream}/"))
    if not plain or used - _FIELDS or "repository" not in used or not hosted:
        raise UsageError(
            f"--layout: the template '{text}' must begin with {{pullthrough}}/ (or {{upstream}}/) "
            "and contain {repository}; {upstream} is the upstream's name"
        )
    layout = Layout(text, text)
    _check_sample(layout)
    return layout


def _check_sample(layout: Layout) -> None:
    path = layout.template.format(pullthrough="h", upstream="u", repository="sample").partition("/")[2]
    if not valid_repository(path):
        raise UsageError(
            f"--layout: '{layout.name}' gives the path '{path}', which is not a valid repository name; "
            "use lower-case letters and digits, separated by . _ __ - and /"
        )
