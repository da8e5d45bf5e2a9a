"""Finds the words of a list that name images: in plain lines, in output of kubectl, in manifests and in JSON.

Only what is certain is taken. Of a manifest, only the values of `image` are. Other words are taken as they are, and the
caller refuses those that are no image.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from ..clean import shown

Numbered = tuple[int, str]


class ImageListError(Exception):
    """A line of an image list is not a valid image. The message is one line with the number of that line."""


# How sure it is that a word names an image: not sure; the value of `image`; the value of `imageID`.
PLAIN, IMAGE, IDENTITY = "plain", "image", "identity"


class Word(NamedTuple):
    """A word that should name an image, and the number of its line; or of the first line of its JSON `document`."""

    line: int
    text: str
    kind: str = PLAIN
    document: str = ""

    @property
    def place(self) -> int:
        """The number of its line. In a JSON document, this is the first line with this text."""
        found = self.document.find(json.dumps(self.text, ensure_ascii=False))
        return self.line + self.document.count("\n", 0, found) if found > 0 else self.line


_KEY: Final = re.compile(
    r"(?:-\s+)*[\"']?(?P<key>image(?P<id>\s?id)?|image\w+)[\"']?:(?:\s+(?P<value>.*))?", re.I
)
_IN_BRACES: Final = re.compile(
    r"[{,]\s*[\"']?image(?P<id>ID)?[\"']?:\s*(?P<value>\"[^\"]*\"|'[^']*'|[^\s,}]+)"
)
# The keys that begin a manifest of Kubernetes, a values file or a compose file.
_MANIFEST: Final = re.compile(
    r"---(?:\s|$)|%YAML|(?:-\s+)?[\"']?(?:apiVersion|kind|metadata|spec|items|status|template|services|version|name|"
    r"containers|initContainers)[\"']?:(?:\s|$)"
)
_HEADER_WORD: Final = re.compile(r"[A-Z][A-Z0-9_()-]*")
_COLUMNS: Final = ("IMAGE", "IMAGES", "IMAGEID", "IMAGE_ID", "IMAGE-ID")
_BARE: Final = re.compile(r"[^\s,#\"'`<{\[|>~-][^\s,#\"'`]*[^\s,#\"'`:]")
_COUNT: Final = re.compile(r"\d+\s+(?=\S+\Z)")  # as `uniq -c` writes it
_LABEL: Final = re.compile(r"\S+:\t\s*")  # as in the example of kubectl's documentation
_SEPARATOR: Final = re.compile(r"[\s,]+")
_BETWEEN: Final = re.compile(r"[\s,]*")
_NO_IMAGE: Final = frozenset({"", "<none>", "<none>:<none>", "null", "~", "{}", "[]", "|", ">", "|-", ">-"})


def words_in(lines: Iterable[str]) -> Iterator[Word]:
    """Yields the words that should name images. The first line that is not empty decides about the form of the list.

    Raises ImageListError for a list in JSON or in columns that cannot be read.
    """
    numbered = ((number, line.strip().lstrip("\ufeff")) for number, line in enumerate(lines, 1))
    first = next(((number, line) for number, line in numbered if line and not line.startswith("#")), None)
    if first is None:
        return
    whole = itertools.chain([first], numbered)
    if first[1][0] in "{[" and not re.match(r"\[[0-9a-fA-F:.]+\]", first[1]):
        yield from _of_json(whole)
    elif _MANIFEST.match(first[1]):
        yield from _of_manifest(whole)
    elif _is_header(first[1].split()):
        yield from _of_table(first[1].split(), numbered)
    else:
        for number, line in whole:
            if _BARE.fullmatch(line):  # the usual line needs no closer look
                yield Word(number, line)
            else:
                yield from _of_line(number, line)


def _of_line(number: int, line: str) -> Iterator[Word]:
    text = line.partition("#")[0].strip()
    keyed = _KEY.fullmatch(text)
    if keyed:
        yield from _of_key(number, keyed)
        return
    if text.startswith(("- ", "-\t")):
        text = text[2:].lstrip()
    for prefix in (_COUNT, _LABEL):
        found = prefix.match(text)
        text = text[found.end() :] if found else text
    for word in _SEPARATOR.split(text):
        bare = unquoted(word)
        if bare not in _NO_IMAGE:
            yield Word(number, bare)


def _of_key(number: int, keyed: re.Match[str]) -> Iterator[Word]:
    """`image: value`; other keys that begin so, such as imagePullPolicy, name no image."""
    kind = IDENTITY if keyed["id"] else IMAGE
    if kind == IMAGE and keyed["key"].lower() != "image":
        return
    value = unquoted(re.split(r"\s+#", keyed["value"] or "")[0].strip().rstrip(","))
    if value not in _NO_IMAGE:
        yield Word(number, value, kind)


def _of_manifest(lines: Iterable[Numbered]) -> Iterator[Word]:
    for number, line in lines:
        keyed = _KEY.fullmatch(line)
        if keyed:
            yield from _of_key(number, keyed)
            continue
        for found in _IN_BRACES.finditer(line):
            value = unquoted(found["value"])
            if value not in _NO_IMAGE:
                yield Word(number, value, IDENTITY if found["id"] else IMAGE)


def _is_header(words: list[str]) -> bool:
    """Whether this is the header of a table with a column of images. A single column may have any name."""
    named = len(words) == 1 or any(word in _COLUMNS for word in words)
    return named and all(_HEADER_WORD.fullmatch(word) for word in words)


def _of_table(header: list[str], rows: Iterable[Numbered]) -> Iterator[Word]:
    column = min(
        ((_COLUMNS.index(word), k) for k, word in enumerate(header) if word in _COLUMNS), default=(0, 0)
    )[1]
    for number, row in rows:
        words = row.partition("#")[0].split()
        if len(header) == 1:
            yield from _of_line(number, row)
        elif len(words) == len(header):
            yield from _of_line(number, words[column])
        elif words:
            raise ImageListError(
                f"line {number}: {shown(row)}: {len(words)} words below a header of {len(header)}; "
                "give the column of the images alone"
            )


def _of_json(lines: Iterable[Numbered]) -> Iterator[Word]:
    """One document or several: an array of images, or objects whose `image` names one."""
    numbered = list(lines)
    first = numbered[0][0]
    text = "\n".join(line for _, line in numbered)
    decoder, at = json.JSONDecoder(), 0
    while (at := _BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
        try:
            document, at = decoder.raw_decode(text, at)
        except ValueError as error:
            at = error.pos if isinstance(error, json.JSONDecodeError) else at
            number, line = numbered[text.count("\n", 0, at)]
            raise ImageListError(
                f"line {number}: {shown(line)}: the list is not valid JSON; correct it, or write one image per line"
            ) from None
        except RecursionError:
            raise ImageListError(f"line {first}: the list is not valid JSON: it is nested too deep") from None
        for value, kind in _named_in(document):
            if value.strip() not in _NO_IMAGE:
                yield Word(first, value.strip(), kind, text)


def _named_in(document: Any) -> Iterator[tuple[str, str]]:
    if isinstance(document, list) and all(isinstance(each, str) for each in document):
        yield from ((each, PLAIN) for each in document)
        return
    left = [document]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            for key, kind in (("image", IMAGE), ("imageID", IDENTITY)):
                if isinstance(each.get(key), str):
                    yield each[key], kind
            left += reversed([value for value in each.values() if isinstance(value, (dict, list))])
        elif isinstance(each, list):
            left += reversed([value for value in each if isinstance(value, (dict, list))])


def unquoted(word: str) -> str:
    """Returns the word without the quotation marks around it."""
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'`":
        return word[1:-1].strip()
    return word
