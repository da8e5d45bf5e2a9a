"""What the workers pull and prune with: the client and its environment, the way to the server, the pruner."""

from __future__ import annotations

from dataclasses import dataclass

from .clients.client import Client
from .clients.crane import Crane
from .clients.files import ClientFiles, _lean, client_environment, write_client_files
from .clients.find import Found
from .clients.skopeo import Skopeo
from .errors import RunError
from .http.connections import Connections
from .http.logins import Login
from .http.registry import RegistryError
from .http.tls import Tls
from .images import Image
from .listing.selection import Selection
from .load.pull import ClientPuller, DryPuller, Puller
from .options.settings import Settings
from .processes.launch import Launcher
from .processes.scratch import Scratch
from .servers.choose_prune import _PruneWays
from .servers.gateway import _start_gateway
from .servers.prune import Pruner
from .servers.route import Route, _tell_unservable, plan_route


@dataclass(frozen=True, slots=True)
class Means:
    """A dry run has neither client nor launcher; `pruner` is there where the user asked for pruning."""

    puller: Puller
    pruner: Pruner | None = None
    client: Client | None = None
    launcher: Launcher | None = None


def dry_means(connections: Connections) -> Means:
    """Those of a dry run."""
    connections.log("dry run: nothing is pulled or pruned")
    return Means(DryPuller())


def find_means(
    settings: Settings, found: Found, selection: Selection, connections: Connections, scratch: Scratch
) -> Means:
    """Those of a real run; RunError where there is no way to the server, or none to prune it."""
    images = selection.images
    route = plan_route(
        settings.layout, found.kind, settings.pullthrough, settings.registry, settings.upstream_name, images
    )
    connections.log(f"layout {settings.layout.name}, by {route.way}: {route.why}")
    if settings.layout.is_ociregistry:
        _tell_unservable(images, connections)
    login = connections.login(route.endpoint.url)
    _check_fit(found, route, login, connections)
    gateway = route.way == "gateway"
    host = _start_gateway(route, login, settings, connections) if gateway else route.endpoint.host
    files = write_client_files(found.kind, route, connections.credentials, login, settings.tls, scratch)
    client = _client(found, route, settings, files)
    environment = {**client_environment(scratch), **_lean(settings, found), **files.environment}
    launcher = Launcher(environment, connections.network.stop.wait)
    connections.resources.callback(launcher.close)

    def reference(image: Image) -> str:
        return route.reference(host, image)

    connections.log(
        f"the first image: {' '.join(client.pull([reference(images[0])], scratch.path))}"
        f"{_beside(route, found, settings.tls)}"
    )
    puller = ClientPuller(client, launcher, reference, settings.pull_timeout)
    if not settings.prune and not settings.prune_first:
        return Means(puller, None, client, launcher)
    if not settings.prune_first:
        connections.log("the first pass finds what the cache holds already; --prune-first makes it cold too")
    ways = _PruneWays(settings, route, client, launcher, reference, connections)
    return Means(puller, ways.choose(images[0]), client, launcher)


def _beside(route: Route, found: Found, tls: Tls) -> str:
    """What the command in the log needs to be repeated by hand."""
    needs = []
    if route.way == "header" and route.header is not None:
        needs.append(f"with HttpHeaders {route.header[0]}: {route.header[1]} in $DOCKER_CONFIG/config.json")
    if tls.authorities:
        needs.append(f"with {tls.ca_file} in the file that $SSL_CERT_FILE names")
    if found.kind == "skopeo":
        needs.append(
            f"{'the gateway and ' if route.way == 'gateway' else ''}its files are there during this run only"
        )
    return f" ({'; '.join(needs)})" if needs else ""


def _check_fit(found: Found, route: Route, login: Login | None, connections: Connections) -> None:
    """RunError where the server wants of the client what that cannot give."""
    if found.kind == "skopeo" and login is not None and not (login.username or login.identity_token):
        raise RunError(
            f"skopeo reads no registry token from a file, as {login.path} has one for {route.endpoint.name}; "
            "use --client crane, or log in with a name and a password"
        )
    tls = connections.tls
    if found.kind == "crane" and tls.client_cert is not None and route.endpoint.tls:
        shown, hidden = (_status(route, each, connections) for each in (tls, tls.without_certificate()))
        if shown is None:
            return  # it does not answer: what its clients make of that is counted
        if shown != hidden:
            raise RunError(
                f"{route.endpoint.name} wants a client certificate, and crane can show none; use --client skopeo"
            )
        connections.log(f"crane shows no client certificate; {route.endpoint.name} asks it for none")


def _status(route: Route, tls: Tls, connections: Connections) -> int | None:
    try:
        ping = connections.registry(route.endpoint.url, tls=tls).ping()
        return connections.network.run_until_stop(ping)
    except RegistryError:
        return None


def _client(found: Found, route: Route, settings: Settings, files: ClientFiles) -> Client:
    insecure = settings.tls.insecure or route.way == "gateway" or not route.endpoint.tls
    if found.kind == "crane":
        return Crane(found.path, found.version, settings.platform, insecure)
    return Skopeo(found.path, found.version, settings.platform, insecure, files.config, files.certificates)
