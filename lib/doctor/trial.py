"""Tries what the run will do with one image: requests it in several layouts, pulls it, and prunes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

from ..clients.table import NAMES, client_kind
from ..errors import RunError, UsageError
from ..figures import milliseconds
from ..images import Image
from ..listing.selection import Selection
from ..prepare import Preparation
from ..servers.layout import parse_layout
from ..servers.manifests import ACCEPT
from ..servers.prune import DELETED, AdminPruner, Pruned, Pruner, expression, is_absent
from ..servers.route import plan_route
from .check import FAILURE, OK, WARNING, Check
from .examination import Checks, Examination, failure
from .registries import REFUSALS, ask, refused

# The status of a manifest that the server has.
_SERVED = 200


def trial_image(selection: Selection) -> Image:
    """Returns the image that doctor pulls: the first one of the first worker."""
    return next(selection.image_sets[0].in_order())


def layouts(exam: Examination, image: Image) -> Checks:
    """Requests the image's manifest in each layout that needs no further name. Returns whether one fits."""
    chosen = exam.settings.layout.name
    answers = {
        name: _manifest(exam, name, image) for name in dict.fromkeys((chosen, "ociregistry", "distribution"))
    }
    good = [name for name, answer in answers.items() if answer == _SERVED]
    if chosen in good:
        yield Check("layout", OK, f"{chosen} fits: the server has {image.name}")
    elif good:
        exam.mend("--layout", good[0], layout=parse_layout(good[0]))
        yield Check(
            "layout", FAILURE, f"{chosen} does not fit: {_told(answers[chosen])}", f"use --layout {good[0]}"
        )
    elif answers[chosen] in REFUSALS:
        what = f"{_told(answers[chosen])} to the manifest of {image.name}"
        yield refused("server under test", exam.settings.under_test.endpoint, what)
    else:
        tried = "; ".join(f"{name}: {_told(answer)}" for name, answer in answers.items())
        advice = "check that the server is configured for this upstream and --upstream-name, or try another --layout"
        yield Check("layout", FAILURE, f"the server does not serve {image.name} ({tried})", advice)
    return bool(good)


def _told(answer: int | str) -> str:
    return answer if isinstance(answer, str) else f"HTTP {answer}"


def _manifest(exam: Examination, layout_name: str, image: Image) -> int | str:
    """Requests the image's manifest in this layout. Returns the HTTP status, or why there is none."""
    settings = exam.settings
    found = exam.preparation.values.get("found")
    try:
        server = replace(settings.under_test, layout=parse_layout(layout_name))
        route = plan_route(server, found.kind if found else client_kind(NAMES[0]), [image])
    except (RunError, UsageError) as error:
        return str(error)
    headers = route.headers(image)
    answer = ask(exam, "layout", route.endpoint, "GET", route.manifest(image), Accept=ACCEPT, **headers)
    if isinstance(answer, Check):
        return answer.message
    return answer.status


def pull_and_prune(exam: Examination, image: Image) -> Iterator[Check]:
    """Pulls and prunes the image just as the run would."""
    preparation = exam.preparation
    if not (yield from exam.carry_out("pull", preparation.client_setup)):
        exam.undecided = True
        return
    yield from exam.warnings("layout")
    tried = [_pull(exam, each, scope) for scope, each in _one_per_scope(exam, image).items()]
    yield from tried
    if all(each.status == OK for each in tried) and not exam.settings.layout.is_upstream:
        yield from _prune(exam, image)


def _one_per_scope(exam: Examination, image: Image) -> dict[str, Image]:
    """Returns `image`, and one image for each other part of the server that has a login of its own."""
    preparation = exam.preparation
    route = preparation.client_setup().route
    if route is None:
        return {"": image}
    logins = preparation.connections().logins(route.endpoint.url)
    images = (image, *preparation.selection().images) if logins.scopes else (image,)
    found: dict[str, Image] = {}
    for each in images:
        found.setdefault(logins.scope(route.repository(each)), each)
    return found


def _pull(exam: Examination, image: Image, scope: str) -> Check:
    """Pulls the image with the run's client. `scope` is what its login is for, if not for the whole server."""
    setup, folder = exam.preparation.client_setup(), exam.preparation.scratch().folder("doctor")
    with exam.until_stop():
        (pulled,) = setup.puller.pull([image], folder, lambda: False)
    if pulled.failure is not None:
        return Check("pull", FAILURE, f"{image.name}: {pulled.failure.error_class}: {pulled.failure.message}")
    client = "" if setup.client is None else f" by {setup.client.name}"
    login = f" with the login for {scope}" if scope else ""
    return Check("pull", OK, f"{image.name}{client}{login} in {milliseconds(1000 * pulled.seconds)}")


def _prune(exam: Examination, image: Image) -> Iterator[Check]:
    if not (exam.settings.prune or exam.settings.prune_first):
        pruning = exam.preparation.again(replace(exam.settings, prune=True))
        error = failure(pruning.pruner)
        if error is not None:
            yield Check("prune", WARNING, str(error), "this matters only with --prune")
            return
        exam.cautions.clear()
        yield Check("prune", OK, f"possible, by {_pruner(pruning).how} (add --prune to try it)")
        return
    advice = "without pruning, all passes after the first pull from the cache"
    if not (yield from exam.carry_out("prune", exam.preparation.pruner, advice)):
        exam.changes.update(dict.fromkeys(("--prune", "--prune-first")))
        return
    yield from exam.warnings("prune")
    yield _prove_prune(exam, _pruner(exam.preparation), image)


def _prove_prune(exam: Examination, pruner: Pruner, image: Image) -> Check:
    """Prunes the image that was just pulled, and checks that the server no longer has it."""
    pruned = _prune_once(exam, pruner, image)
    if pruned.failure is not None:
        return Check("prune", FAILURE, f"{image.name} cannot be pruned: {pruned.failure.message}")
    if _is_gone(exam, pruner, image):
        return Check("prune", OK, f"{image.name} was pruned by {pruner.how} and is gone")
    return Check("prune", FAILURE, f"{image.name} was pruned by {pruner.how}, but the server still has it")


def _prune_once(exam: Examination, pruner: Pruner, image: Image) -> Pruned:
    with exam.until_stop():
        (pruned,) = pruner.prune([image], exam.preparation.scratch().folder("doctor"), lambda: False)
    return pruned


def _is_gone(exam: Examination, pruner: Pruner, image: Image) -> bool:
    """Returns whether the server no longer has the image. A pull cannot show that, as it would fetch it again.

    Asks Ociregistry for its list, or deletes the image a second time. The client's own delete may ask for the image
    first, and so make a pull-through server fetch it again.
    """
    if isinstance(pruner, AdminPruner):
        pattern = quote(expression(exam.settings.upstream_name, image), safe="/:@")
        answer = ask(
            exam, "prune", exam.settings.pullthrough, "GET", f"/cmd/image/list?pattern={pattern}&count=-1"
        )
        return not isinstance(answer, Check) and b"no manifests found" in answer.body
    route = exam.preparation.client_setup().route
    assert route is not None
    path = route.manifest(image)
    answer = ask(exam, "prune", route.endpoint, "DELETE", path, **route.headers(image))
    if isinstance(answer, Check) or answer.status in DELETED:
        return False
    if is_absent(answer):
        return True
    answer = ask(exam, "prune", route.endpoint, "HEAD", path, Accept=ACCEPT, **route.headers(image))
    return not isinstance(answer, Check) and answer.status == 404


def _pruner(preparation: Preparation) -> Pruner:
    """Returns the pruner of a preparation that prunes."""
    pruner = preparation.pruner()
    assert pruner is not None
    return pruner
