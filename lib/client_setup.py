"""Sets up the client for the route to the server under test, and its launcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from .clients.client import Client, Orders
from .clients.files import client_environment
from .clients.find import Found
from .clients.renewal import Renewal
from .clients.table import names_of
from .errors import RunError
from .http.connections import Connections
from .http.logins import Logins
from .http.registry import RegistryError
from .http.tls import Tls
from .images import Image, heeding
from .listing.selection import Selection
from .load.pull import ClientPuller, DryPuller, Puller
from .options.settings import Settings
from .processes.launch import Launcher
from .processes.scratch import Scratch
from .servers.ask_status import StatusAsker
from .servers.choose_prune import Deleter
from .servers.route import GATEWAY, Route, plan_route, warn_of_unservable


@dataclass(frozen=True, slots=True)
class ClientSetup:
    """What the workers pull with. In a dry run, only `puller` is set."""

    puller: Puller
    client: Client | None = None
    launcher: Launcher | None = None
    route: Route | None = None
    deleter: Deleter | None = None

    @property
    def retries_known(self) -> bool:
        """Whether the client reports its own retries."""
        return self.client is None or self.client.abilities.reports_retries


def set_up_dry_run(connections: Connections) -> ClientSetup:
    """Returns the setup of a dry run."""
    connections.log("dry run: nothing is pulled or pruned")
    return ClientSetup(DryPuller())


def set_up_client(
    settings: Settings,
    found: Found,
    selection: Selection,
    connections: Connections,
    scratch: Scratch,
    stopped: Callable[[float], bool],
) -> ClientSetup:
    """Returns the setup of a real run. Raises RunError if this client cannot reach the server or carry out an option.

    `stopped(seconds)` waits for at most this long and returns whether a stop was asked for.
    """
    images = selection.images
    _check_options(settings, found)
    heed = connections.network.stop.heed
    route = plan_route(settings.under_test, found.kind, images, heed)
    connections.log(f"layout {settings.layout.name}, by {route.way}: {route.why}")
    if found.kind.abilities.hides_artifacts:
        connections.log(
            f"{found.kind.name} also pulls what is not an image, such as Helm charts; such pulls count as pulled"
        )
    if settings.layout.is_ociregistry:
        warn_of_unservable(heeding(images, heed), connections.caution)
    logins = connections.logins(route.endpoint.url)
    _check_fit(found, route, logins, connections)

    def adapted(logins: Logins) -> Logins:
        return _given(found, logins, (route.repository(image) for image in images))

    warning = _warn_of_scopes(found, route, logins, adapted(logins), images)
    if warning:
        connections.caution(warning)
    server_url, host = route.endpoint.url, route.host
    if route.way == GATEWAY:
        host = _start_gateway(found, route, logins, settings, connections)
        server_url = f"http://{host}"
    environment = client_environment(scratch)
    orders = Orders(
        platform=settings.platform,
        host=host,
        server_url=server_url,
        verify=not settings.tls.insecure,
        folder=scratch.folder,
        tls=settings.tls,
        header=route.client_header,
        lean=settings.lean,
        elsewhere=scratch.elsewhere,
        environment=environment,
        caution=connections.caution,
        log=connections.log,
        containerd_socket=settings.containerd_socket or "",
        stopped=stopped,
    )

    def with_logins(logins: Logins) -> Orders:
        credentials, given = connections.credentials, adapted(logins)
        return replace(
            orders,
            docker_config=credentials.client_config(route.endpoint.host, given),
            logins=given,
            user_configured=bool(credentials.files),
        )

    client = found.kind.set_up(found.executable, with_logins(logins))
    connections.resources.callback(client.close)
    renewal = Renewal(client, route.endpoint.url, connections.credentials, with_logins, connections.log)
    launcher = Launcher(client.environment, stopped)
    connections.resources.callback(launcher.close)

    def reference(image: Image) -> str:
        return route.reference(host, image)

    connections.log(
        f"the first image: {' '.join(client.pull([reference(images[0])], scratch.path / 'worker-0'))}"
        f"{_beside(route, client, settings.tls)}"
    )
    asker = StatusAsker(
        connections.network,
        connections.registry(route.endpoint.url, strict=True),
        route,
        connections.log,
    )
    return ClientSetup(
        puller=ClientPuller(client, launcher, reference, settings.pull_timeout, asker=asker, renewal=renewal),
        client=client,
        launcher=launcher,
        route=route,
        deleter=Deleter(
            client=client,
            launcher=launcher,
            reference=reference,
            timeout=settings.pull_timeout,
            renewal=renewal,
        ),
    )


def _check_options(settings: Settings, found: Found) -> None:
    """Raises RunError for an option that this client cannot carry out."""
    able, name = found.kind.abilities, found.kind.name
    if settings.batch > 1 and not able.takes_several:
        raise RunError(f"--batch: {name} pulls one image per launch; leave out the option")
    if settings.containerd_socket is not None and not able.needs_service:
        instead = names_of(lambda able: able.needs_service)
        raise RunError(f"--containerd-socket: {name} does not use containerd; leave it out, or use {instead}")


def _beside(route: Route, client: Client, tls: Tls) -> str:
    """Returns, for the log, what a user needs to repeat the logged command by hand; empty if nothing."""
    needs = [*client.needs()]
    if tls.authorities:
        needs.append(f"with {tls.ca_file} in the file that $SSL_CERT_FILE names")
    if route.way == GATEWAY:
        needs.append("the gateway runs only during this run")
    return f" ({'; '.join(needs)})" if needs else ""


def _given(found: Found, logins: Logins, repositories: Iterable[str]) -> Logins:
    """Returns the logins as this client uses them: with one for the whole server, if it does not tell parts apart."""
    if found.kind.abilities.picks_scope or logins.server is not None:
        return logins
    fitting = (logins.of(repository) for repository in repositories)
    return replace(logins, server=next(filter(None, fitting), logins.first))


def _warn_of_scopes(
    found: Found, route: Route, logins: Logins, given: Logins, images: Sequence[Image]
) -> str:
    """Returns a warning if the client pulls images with another login than the one for their repository, else ""."""
    if found.kind.abilities.picks_scope or not logins.scopes:
        return ""
    names = [route.repository(image) for image in images]
    others = [
        name for name in names if logins.scope(name) not in ("", name) and logins.of(name) != given.server
    ]
    if not others:
        return ""
    place = f"{route.endpoint.host}/{logins.scope(others[0])}"
    return (
        f"{found.kind.name} has one login per server, so it pulls {len(others)} of {len(names)} images without the "
        f"login that is meant for them, such as {place}; use {names_of(lambda able: able.picks_scope)}"
    )


def _check_fit(found: Found, route: Route, logins: Logins, connections: Connections) -> None:
    """Raises RunError if the server needs a login or a certificate that the client cannot send."""
    kind, server = found.kind, route.endpoint
    token = next((each for each in logins.all if not (each.username or each.identity_token)), None)
    if token is not None and not kind.abilities.takes_registry_token:
        raise RunError(
            f"{kind.name} cannot use a registry token, and {token.path} has one for {server.name}; "
            f"use {names_of(lambda able: able.takes_registry_token)}, or log in with a name and a password"
        )
    tls = connections.tls
    if tls.client_cert is not None and server.tls and not kind.abilities.shows_certificate:
        shown, hidden = (_status(route, each, connections) for each in (tls, tls.without_certificate()))
        if shown is None:
            return  # the server does not answer; the load counts this as failed pulls
        if shown != hidden:
            raise RunError(
                f"{server.name} asks for a client certificate, and {kind.name} cannot send one; "
                f"use {names_of(lambda able: able.shows_certificate)}"
            )
        connections.log(f"{kind.name} sends no client certificate; {server.name} does not ask for one")


def _status(route: Route, tls: Tls, connections: Connections) -> int | None:
    """Returns the HTTP status of GET /v2/; None if there is no answer."""
    try:
        ping = connections.registry(route.endpoint.url, tls=tls).ping()
        return connections.network.run_until_stop(ping)
    except RegistryError:
        return None


def _start_gateway(
    found: Found, route: Route, logins: Logins, settings: Settings, connections: Connections
) -> str:
    """Starts the gateway and returns its host:port. It runs until the resources are closed."""
    # imported here, as a server takes thirty milliseconds to import
    from .servers.gateway import Gateway, check_fit

    instead = names_of(lambda able: able.sends_header or able.asks_mirror)
    check_fit(found.kind.name, instead, route.endpoint, login=bool(logins), insecure=settings.tls.insecure)
    (upstream,) = route.upstreams
    gateway = Gateway(route.endpoint.url, upstream)
    network = connections.network
    host = network.run(gateway.start())
    connections.resources.callback(lambda: network.run(gateway.close()))
    connections.log(f"gateway on {host} redirects to {route.endpoint.url} with ns={upstream}")
    return host
