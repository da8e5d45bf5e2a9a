"""Asks the server under test for the HTTP status of a failed pull, where the client does not show it.

crane and skopeo drop the status of an answer whose body is an error in JSON. Its code may come with any status, also
where the specification gives it another one. So the driver sends one request of its own for what the client asked for:
same server, names, login and header. If the answer is the same failure, its status decides the class.

These requests are no part of the load: nothing counts them. They are few, short and bounded, and each is logged.
"""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from time import monotonic
from typing import Final

from ..clients.client import BASE, BLOB, MANIFEST, TOKEN, Unshown
from ..http.network import Network
from ..http.registry import MIB, Registry, RegistryError
from ..images import Image
from ..outcomes import ErrorClass, Failure, http_class
from .manifests import ACCEPT
from .route import Route

# The same failure of the same image is asked for at most once in this many seconds.
INTERVAL_SECONDS: Final = 10.0
# The most requests in that time.
MOST: Final = 300
# Seconds for one request, its login included.
_SECONDS: Final = 5.0
# So many images that fail in the same words, all with one status, prove that the words stand for this status.
_PROOF: Final = 8
# The longest body that is read, in bytes. Errors are short; the content of an image need not be read.
_BODY_BYTES: Final = MIB // 16
_KINDS: Final = 1000
_TEXT: Final = 1000
_CHANCE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\b[0-9a-f]{12,}\b|\d{5,}", re.IGNORECASE)
_WORD: Final = re.compile(r"\w+")
# What the client asked for, and the words of its failure without the image's names.
_Kind = tuple[str, str]


class StatusAsker:
    """Gives a failure the class of the status that its client does not show. All workers share one instance."""

    def __init__(self, network: Network, server: Registry, route: Route, log: Callable[[str], None]) -> None:
        """`server` has to be strict: a refusal of its token service is an answer like any other."""
        self._network = network
        self._server = server
        self._route = route
        self._log = log
        self._lock = threading.Lock()
        self._began = monotonic()
        # what was asked for in this interval
        self._asked: dict[tuple[Image, str, _Kind], Future[int | None]] = {}
        self._kinds_asked: set[_Kind] = set()
        # how many images had which status, for each kind of failure since the run began
        self._known: dict[_Kind, Counter[int]] = {}

    def settle(self, image: Image, failure: Failure, answer: Unshown) -> Failure:
        """Returns the failure with the class of the answer's status; as it is, if that stays unknown.

        A code says more than a status without a class, such as 400; but a status that is no 5xx, such as 400, is never
        the server's own fault. Waits for an answer, at most for `_SECONDS`.
        """
        status = self._status(image, answer)
        if status is None:
            return failure
        found = http_class(status)
        if found is ErrorClass.OTHER and failure.error_class != ErrorClass.SERVER_ERROR:
            return failure
        return Failure(found.value, failure.message)

    def _status(self, image: Image, answer: Unshown) -> int | None:
        kind = answer.place, self._nameless(image, answer.text)
        key = image, answer.reference, kind
        mine = None
        with self._lock:
            self._begin_interval()
            asked = self._asked.get(key)
            if asked is None and self._is_worth_asking(kind):
                mine = self._asked[key] = Future()
                self._kinds_asked.add(kind)
        if mine is not None:
            status = None
            try:
                status = self._ask(image, answer)
            finally:
                self._learn(kind, status)
                mine.set_result(status)
        else:
            status = asked.result() if asked is not None else None
        return self._status_of(kind) if status is None else status

    def _begin_interval(self) -> None:
        now = monotonic()
        if now - self._began >= INTERVAL_SECONDS:
            self._began = now
            self._asked = {}
            self._kinds_asked = set()

    def _is_worth_asking(self, kind: _Kind) -> bool:
        if len(self._asked) >= MOST:
            return False
        known = self._known.get(kind)
        proved = known is not None and len(known) == 1 and known.total() >= _PROOF
        return not (proved and kind in self._kinds_asked)

    def _learn(self, kind: _Kind, status: int | None) -> None:
        if status is None:
            return
        with self._lock:
            if len(self._known) >= _KINDS:
                self._known.clear()
            self._known.setdefault(kind, Counter())[status] += 1

    def _status_of(self, kind: _Kind) -> int | None:
        """Returns the status that other failures of this kind had; None if there were several, or none."""
        with self._lock:
            known = self._known.get(kind, Counter())
            return next(iter(known)) if len(known) == 1 else None

    def _nameless(self, image: Image, text: str) -> str:
        """Returns the words of a failure without what differs between images and between requests."""
        text = text[:_TEXT]
        for name in (self._route.repository(image), image.repository, image.reference):
            text = text.replace(name, "#")
        return _CHANCE.sub("#", text)

    def _ask(self, image: Image, answer: Unshown) -> int | None:
        """Returns the status, if the server gives the same answer now; else None, also after a stop."""
        if self._network.stop.count:
            return None
        status = self._network.run_for(self._same_answer(image, answer), _SECONDS)
        found = "the failure did not occur again" if status is None else f"HTTP {status}"
        self._log(
            f"asked the server about {image.name} ({answer.place}), as the client does not show the status: {found}"
        )
        return status

    async def _same_answer(self, image: Image, answer: Unshown) -> int | None:
        headers = self._route.headers_beside_query(image)
        if answer.place in (MANIFEST, TOKEN):
            headers["Accept"] = ACCEPT
        try:
            got = await self._server.request(
                "GET", self._path(image, answer), headers=headers, max_bytes=_BODY_BYTES, retry=False
            )
            status, body = got.status, got.body
        except RegistryError as error:
            if error.status is None:
                return None
            status, body = error.status, error.body
        return status if status in answer.statuses and _is_alike(body, answer.text) else None

    def _path(self, image: Image, answer: Unshown) -> str:
        if answer.place == BASE:
            return "/v2/"
        kind = "blobs" if answer.place == BLOB else "manifests"
        reference = answer.reference or image.reference
        return f"/v2/{self._route.repository(image)}/{kind}/{reference}{self._route.query(image)}"


def _is_alike(body: bytes, shown: str) -> bool:
    """Whether a body is the error of which the client shows this text: half of its words stand there.

    Of a code's usual message a client may show nothing.
    """
    message = _message(body)
    if message is None:
        return False
    words = _WORD.findall(message[:_TEXT].lower())
    there = set(_WORD.findall(shown.lower()))
    return not there or 2 * sum(word in there for word in words) >= len(words)


def _message(body: bytes) -> str | None:
    """Returns the message of an error in JSON; None if the body is something else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    errors = value.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    message = first.get("message", "") if isinstance(first, dict) else value.get("details")
    return message if isinstance(message, str) else None
