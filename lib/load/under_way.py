"""A load that is under way, as the views and the metrics endpoint read it: how far it is, and what it uses."""

from __future__ import annotations

from typing import Protocol


class UnderWay(Protocol):
    """What a driver says of its load, and a controller of that of its hosts. Any thread may read it."""

    @property
    def running(self) -> int:
        """The number of workers running now."""
        ...

    @property
    def planned(self) -> int:
        """The number of workers that the plan has running now; 0 before the load, and from its end or stop on."""
        ...

    @property
    def second(self) -> float:
        """Seconds since the load began, at most until its planned end or its stop."""
        ...

    @property
    def client_cpu_seconds(self) -> float:
        """The CPU seconds of all clients so far, as far as they are known."""
        ...
