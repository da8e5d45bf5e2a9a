"""A server that answers as Ociregistry does, its upstream, and what is asked of them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from urllib.parse import quote

from tests.support.asking import Answer, ask
from tests.support.images import get_manifest, push

ZEROS = "sha256:" + "0" * 64


@dataclass
class Ociregistry:
    """The server under test and the upstream it pulls from, both `host:port`."""

    address: str
    upstream: str
    prefix: str = field(default_factory=lambda: "t" + uuid.uuid4().hex[:10])

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        return ask(self.address, method, path, headers=headers)

    def pull(self, method: str, path: str) -> Answer:
        return self.ask(method, path, {"X-Registry": self.upstream})

    def get(self, repository: str, reference: str) -> Answer:
        return self.pull("GET", f"/v2/{repository}/manifests/{reference}")

    def blob(self, digest: str) -> Answer:
        return self.ask("GET", f"/v2/any/blobs/{digest}")

    def prune(self, query: str) -> Answer:
        return self.ask("DELETE", f"/cmd/prune?{query}")

    def prune_now(self, expression: str) -> Answer:
        return self.prune(f"type=pattern&dryRun=false&count=-1&expr={quote(expression)}")

    def listed(self, pattern: str) -> list[str]:
        """The names that /cmd/image/list gives."""
        answer = self.ask("GET", f"/cmd/image/list?count=-1&pattern={quote(pattern)}")
        assert answer.status == 200
        lines = answer.text.splitlines()
        return [line.split()[0] for line in lines if line.startswith(self.upstream)]

    def name(self, text: str) -> str:
        """A repository that no other run uses."""
        return f"{self.prefix}/{text}"

    def push(self, repository: str, tag: str, *contents: bytes) -> tuple[str, ...]:
        """Pushes an image to the upstream; the digests of its layers and config, which no other run has."""
        own = (content + self.prefix.encode() for content in contents)
        return push(self.upstream, repository, tag, *own).blobs

    def original(self, repository: str, reference: str) -> Answer:
        """The manifest as the upstream has it."""
        return get_manifest(self.upstream, repository, reference)
