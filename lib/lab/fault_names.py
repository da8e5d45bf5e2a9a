"""The names of faults: one grammar for all test servers and clients that fail on purpose.

    [PLACE-]WHAT[-BODY][-after][-xN][:RATE]

| part | values | meaning |
| --- | --- | --- |
| PLACE | ping, manifest, blob, config, delete, token | the requests that get the fault; without it, all |
| WHAT | a status, 400 to 599 | the answer has this status |
| | hang, silent | no answer comes |
| | silentget, resetget | HEAD tells of a manifest; GET gets no answer, or a TCP reset |
| | reset, close | the connection ends before the answer: with a TCP reset, or in an orderly way |
| | garbage, redirect | the answer is not HTTP; it is a redirect to the same place |
| | truncate, truncated | the body breaks off in the middle |
| | midreset, stalled, drip | in the middle of the body comes a TCP reset; nothing more; a byte per second |
| | corrupt, corrupted | the body has its full length and one wrong byte |
| | short, empty | the body is complete for HTTP, but lacks its end, or all of it |
| | html, text, halfjson, strange, schemaone, noplatform | the body is complete, but is not such an image |
| | chart, artifact, oldartifact, nested, encrypted | the manifest is not that of an image, or not of a usual one |
| | nolocation, ftplocation | a redirect without an address, or to one that is not http |
| | badheader, notgzip | a header is not HTTP; the body says that it is compressed and is not |
| | killed, died | the whole server goes away: in the middle of the answer, or before it |
| | tls, tls-name | the whole server has an untrusted certificate, or one for another name |
| | ok, slow, retry | a client pulls well: at once, after a while, after a retry |
| | refused, flood, signal, litter | a client fails: in a line, in 3 MB, by a signal, with a file left behind |
| | stubborn, gate | a client ignores signals; waits until the test lets it go on |
| | asks, daemon, orphan | a client reads the terminal; leaves a process, detached or not |
| -BODY | json, two, text, html, commands, hostile, long, big | with a status: what the body holds |
| | commandsjson, hostilejson, longjson, bigjson | the same as the message of a JSON error |
| | default, detailed, bare | a code of the specification: with its usual message, a detail too, neither |
| | foreign, nocode, nothing | a JSON error: with a code of the server's own, without a code; no error in the list |
| | details, otherjson | JSON that is not an error of the specification |
| | unauthorized, denied, unsupported | a JSON error with this code, whatever the status |
| | manifestunknown, nameunknown, toomanyrequests | the same, MANIFEST_UNKNOWN and so on |
| | manifestinvalid, nameinvalid | the same |
| -after | | with a status: the answer has `Retry-After: 1` |
| -xN | N is a number | only the first N times for each repository |
| :RATE | 0.1, 10% | this share of the answers |
| | 2x | only the first two answers |

An image's name can contain a fault with `-xN`, as that has no colon. Each server can make only some of the faults: a
`Repertoire` describes them, and `Repertoire.parse` refuses all others.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

_NAME = re.compile(
    r"(?:(?P<place>[a-z]+)-)?"
    r"(?:(?P<status>[45]\d\d)(?:-(?P<body>[a-z]+?))??(?P<after>-after)?|(?P<kind>[a-z]+))"
    r"(?:-x(?P<times>\d+))?"
    r"(?::(?:(?P<first>\d+)x|(?P<rate>\d*\.?\d+)(?P<percent>%?)))?"
)
# Of the number of times that a fault happens.
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Fault:
    """A parsed fault. `what` is a status or a kind. `place` is the request that gets it; None means every request.

    The fault happens always, at a `rate` (0 to 1), or only the `first` times. `body` and `after` need a status.
    """

    what: str
    place: str | None = None
    rate: float = 1.0
    first: int | None = None
    body: str | None = None
    after: bool = False

    @property
    def status(self) -> int | None:
        """The status of the answer, if the fault is a status."""
        return int(self.what) if self.what.isdigit() else None


@dataclass(frozen=True)
class Repertoire:
    """The faults that one server or client can make. `usage` describes them in an error message.

    `alone` are kinds without a place and modifiers. Every place can have a status. `everywhere`: the place may be left
    out. `rates`: `:RATE` is allowed; without `rates`, `-xN` and `-after` are allowed instead.
    """

    usage: str
    places: Collection[str] = ()
    kinds: Collection[str] = ()
    alone: Collection[str] = ()
    bodies: Collection[str] = ()
    everywhere: bool = False
    rates: bool = False

    def parse(self, text: str) -> Fault:
        """Parses a fault. Raises `ValueError` if the repertoire does not have it."""
        if text in self.alone:
            return Fault(text)
        found = _NAME.fullmatch(text)
        if found is None or not self._knows(found):
            raise ValueError(f"{text!r} is not a fault; use {self.usage}")
        rate = float(found["rate"]) / (100 if found["percent"] else 1) if found["rate"] else 1.0
        if rate > 1:
            raise ValueError(f"the rate in {text!r} is more than 1; use a share such as 0.1 or 10%")
        first = found["times"] or found["first"]
        if first and len(first) > _DIGITS:
            raise ValueError(f"the number in {text!r} is too large; use one of at most {_DIGITS} digits")
        return Fault(
            what=found["status"] or found["kind"],
            place=found["place"],
            rate=rate,
            first=int(first) if first else None,
            body=found["body"],
            after=bool(found["after"]),
        )

    def _knows(self, found: re.Match[str]) -> bool:
        place_fits = found["place"] in self.places if found["place"] else self.everywhere
        kind_fits = found["kind"] is None or found["kind"] in self.kinds
        body_fits = found["body"] is None or found["body"] in self.bodies
        has_rate = bool(found["first"] or found["rate"])
        has_others = bool(found["times"] or found["after"])
        return place_fits and kind_fits and body_fits and not (has_others if self.rates else has_rate)
