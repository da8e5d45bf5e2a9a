"""The clients, by name. A new client is one line here; its module is imported only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from .client import Abilities, Client

# The word for --client, which is also the module in this folder, and the class in it; `auto` tries them in this order.
_CLASSES = {
    "crane": "Crane",
    "skopeo": "Skopeo",
    "ctr": "Ctr",
}
NAMES = tuple(_CLASSES)


def client_kind(name: str) -> type[Client]:
    """The class of the client with this name."""
    kind: type[Client] = getattr(import_module(f".{name}", __package__), _CLASSES[name])
    return kind


def names_of(able: Callable[[Abilities], bool]) -> str:
    """The names of the clients with these abilities, as an option's advice: `--client crane or --client ctr`."""
    return " or ".join(f"--client {name}" for name in NAMES if able(client_kind(name).abilities))
