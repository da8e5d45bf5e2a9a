"""Says what a run tests: the server under test, the client, what is known of the cache, and the load."""

from __future__ import annotations

from ..clean import clean
from ..counted import counted
from ..load.plan import Plan
from ..options.settings import Settings
from ..results.headline import in_cache
from ..results.run_state import Run


def about(run: Run, plan: Plan) -> tuple[str, str]:
    """Returns what is tested, and the load.

    `cache:8080 with crane 0.22.1, first pulls cold` and `constant load of 4 workers for 10m`.
    """
    info = run.client_info
    by = "in a dry run" if info is None else f"with {info}"
    by += f" on {counted(len(run.hosts), 'host')}" if run.hosts else ""
    address = run.settings.pullthrough.url.partition("://")[2]
    known = (f"{address} {by}", cache_state(run.settings, run.first_pulls))
    return clean(", ".join(word for word in known if word)), clean(plan.about)


def cache_state(settings: Settings, first_pulls: str) -> str:
    """Returns what is known about the images in the cache of the server under test; empty if nothing is."""
    return in_cache(first_pulls, dry_run=settings.dry_run, prune=settings.prune, herd=settings.herd)
