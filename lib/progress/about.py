"""Says in one line what a run is: the server under test, the client, what is known of the cache, and the load."""

from __future__ import annotations

from ..load.plan import Plan
from ..options.settings import Settings
from ..results.headline import in_cache
from ..results.run_state import Run


def about(run: Run, plan: Plan) -> str:
    """Returns the line: `http://cache:8080, crane 0.22.1, first pulls cold: constant load of 4 workers for 10m`."""
    client = "dry run" if run.client is None else f"{run.client.name} {run.client.executable.version}"
    known = (run.settings.pullthrough.url, client, cache_state(run.settings, run.first_pulls))
    return f"{', '.join(word for word in known if word)}: {plan.about}"


def cache_state(settings: Settings, first_pulls: str) -> str:
    """Returns what is known about the images in the cache of the server under test; empty if nothing is."""
    return in_cache(first_pulls, dry_run=settings.dry_run, prune=settings.prune, herd=settings.herd)
