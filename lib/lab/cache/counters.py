"""Counts the work of the cache for `/metrics`."""

from __future__ import annotations

from typing import ClassVar

from .wire import BLOB, MANIFEST


class Counters:
    """The counters of `/metrics`, in Prometheus' text format. Each starts at 0, so that differences are valid."""

    HELP: ClassVar[dict[str, str]] = {
        "lab_requests_total": "Requests for manifests and blobs. A hit needs no request to the upstream.",
        "lab_upstream_requests_total": "Requests sent to the upstream.",
        "lab_upstream_bytes_total": "Bytes of manifests and blobs received from the upstream.",
        "lab_pruned_images_total": "Manifests removed by a prune or a delete.",
        "lab_pulls_total": "Manifests served together with all their blobs.",
        "lab_faults_total": "Answers that a fault broke. Those that it replaced count nowhere else.",
    }

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], int] = {}
        for kind in (MANIFEST, BLOB):
            for result in ("hit", "miss"):
                self._values["lab_requests_total", f'{{kind="{kind}",result="{result}"}}'] = 0
            self._values["lab_upstream_requests_total", f'{{kind="{kind}"}}'] = 0
            self._values["lab_faults_total", f'{{kind="{kind}"}}'] = 0
        for name in ("lab_upstream_bytes_total", "lab_pruned_images_total", "lab_pulls_total"):
            self._values[name, ""] = 0

    def request(self, kind: str, hit: bool) -> None:
        self._values["lab_requests_total", f'{{kind="{kind}",result="{"hit" if hit else "miss"}"}}'] += 1

    def upstream_request(self, kind: str) -> None:
        self._values["lab_upstream_requests_total", f'{{kind="{kind}"}}'] += 1

    def fault(self, kind: str) -> None:
        self._values["lab_faults_total", f'{{kind="{kind}"}}'] += 1

    def add(self, name: str, amount: int) -> None:
        self._values[name, ""] += amount

    def text(self) -> str:
        lines = []
        for name, about in self.HELP.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} counter"]
            lines += [
                f"{name}{labels} {value}" for (own, labels), value in self._values.items() if own == name
            ]
        return "\n".join(lines) + "\n"
