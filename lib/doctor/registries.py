"""Checks of the registries: the upstream, the server under test, and the logins for both."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..clients.find import Found
from ..errors import RunError
from ..http.address import Endpoint
from ..http.logins import Logins
from ..http.proxies import proxy_for
from ..http.registry import Answer, RegistryError
from ..prepare import asked
from .check import FAILURE, OK, WARNING, Check
from .examination import Checks, Examination
from .machine import clock_skew

# Statuses of a server that refuses a request to this user.
REFUSALS = (401, 403)


def upstream(exam: Examination) -> Checks:
    """Checks that the upstream answers. Returns whether it does, and accepts the login; the listing is yet to come."""
    endpoint = exam.settings.registry
    answer = ask(exam, "upstream", endpoint, "GET", "/v2/")
    if isinstance(answer, Check):
        _mend_scheme(exam, "--registry-url", answer)
        yield answer
        return False
    check = _answered(exam, "upstream", endpoint, answer)
    yield check
    return check.status != FAILURE and answer.status not in REFUSALS


def server(exam: Examination) -> Checks:
    """Checks that the server under test answers. The last request is the one that a run makes before its load."""
    endpoint = exam.settings.under_test.endpoint
    answer = ask(exam, "server under test", endpoint, "GET", "/v2/")
    if isinstance(answer, Check):
        _mend_scheme(exam, "--pullthrough-url", answer)
        yield answer
        return False
    check = _answered(exam, "server under test", endpoint, answer)
    yield check
    yield clock_skew(endpoint, answer)
    if check.status == FAILURE:
        return False
    return (yield from exam.carry_out("server under test", exam.preparation.ping))


def ways(exam: Examination, endpoints: Sequence[Endpoint] | None = None) -> Checks:
    """Checks and shows by which proxy the driver and the client reach each server. Both read the same variables.

    `endpoints` are the servers to show; by default, all that a run asks.
    """
    if not (yield from exam.carry_out("proxy", exam.preparation.ways)):
        return False
    yield from exam.warnings("proxy")
    found: Found | None = exam.preparation.values.get("found")
    for endpoint in asked(exam.settings) if endpoints is None else endpoints:
        way = _way(endpoint)
        if found is None or endpoint != exam.settings.under_test.endpoint:
            yield Check("proxy", OK, f"to {endpoint.name}, the driver goes {way}")
            continue
        client = found.kind.name
        message = f"to {endpoint.name}, the driver and {client} go {way}"
        probed = _way(Endpoint("https", endpoint.host))
        if found.kind.abilities.tries_tls_first and not endpoint.tls and probed != way:
            message += f"; {client} first tries https, {probed}"
        yield Check("proxy", OK, message)
    return True


def _way(endpoint: Endpoint) -> str:
    proxy = proxy_for(*endpoint.target)
    return "directly" if proxy is None else f"through the {proxy}"


def mixed_up(exam: Examination) -> Iterator[Check]:
    """Warns if the two servers are one, or swapped."""
    yield from exam.carry_out("servers", exam.preparation.servers)
    yield from exam.warnings("servers")


def credentials(exam: Examination, endpoints: Sequence[Endpoint] | None = None) -> Iterator[Check]:
    """Checks that the logins can be read, and lists the servers that have one.

    `endpoints` are the servers to look at; by default, the upstream and the server under test.
    """
    connections = exam.preparation.connections()
    where = ", ".join(map(str, connections.credentials.files)) or "no Docker configuration"
    both = dict.fromkeys((exam.settings.registry, exam.settings.pullthrough))
    try:
        known = [
            name for each in endpoints or both for name in _with_logins(each, connections.logins(each.url))
        ]
    except RunError as error:
        yield Check("credentials", FAILURE, str(error))
        return
    yield Check(
        "credentials",
        OK,
        f"{where}: {'a login for ' + ', '.join(known) if known else 'no login for these servers'}",
    )


def _with_logins(endpoint: Endpoint, logins: Logins) -> list[str]:
    """Returns what the logins are for: the server, paths of repositories, or both."""
    server = [endpoint.name] if logins.server is not None else []
    return [*server, *(f"{endpoint.name}/{path}" for path in logins.scopes)]


def ask(
    exam: Examination, name: str, endpoint: Endpoint, method: str, path: str, **headers: str
) -> Answer | Check:
    """Sends a request. Returns the answer, or a failed check if there is none."""
    connections = exam.preparation.connections()
    registry = connections.registry(endpoint.url, 0.0)
    try:
        request = registry.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
        return connections.network.run_until_stop(request)
    except RegistryError as error:
        return Check(name, FAILURE, str(error))


def _answered(exam: Examination, name: str, endpoint: Endpoint, answer: Answer) -> Check:
    checked = "its certificate is not checked" if exam.settings.tls.insecure else "its certificate is valid"
    how = f"TLS, {checked}" if endpoint.tls else "plain http"
    if answer.status in REFUSALS:
        # Harbor refuses this to everybody without a login, and yet lets them pull from a public project
        return Check(
            name,
            OK,
            f"{endpoint.name} answers ({how}), and refuses GET /v2/ (HTTP {answer.status}); pulls may still work",
        )
    if answer.status >= 500:
        return Check(
            name, FAILURE, f"{endpoint.name} answers HTTP {answer.status}", "look at the server's log"
        )
    if answer.status != 200:
        advice = "check that this is the registry's address, not that of its web page"
        return Check(name, WARNING, f"{endpoint.name} answers GET /v2/ with HTTP {answer.status}", advice)
    return Check(name, OK, f"{endpoint.name} answers ({how})")


def refused(name: str, endpoint: Endpoint, what: str) -> Check:
    """Returns the failed check for a server that refuses a request to this user."""
    return Check(
        name,
        FAILURE,
        f"{endpoint.name} answers {what}: credentials are missing or not accepted",
        f"log in: docker login {endpoint.name}, or crane auth login {endpoint.name}",
    )


def _mend_scheme(exam: Examination, option: str, failed: Check) -> None:
    """Recommends the URL with the right scheme, if the message names it."""
    url = re.search(r"\bwrite (https?://\S+)$", failed.message)
    if url:
        exam.changes[option] = url[1]
