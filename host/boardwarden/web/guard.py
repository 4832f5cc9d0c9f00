"""Whether a request may come in: by its Host, its Origin, who sends it; and the answer's headers.

Every answer of the page goes through Guard, whatever it is.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .users import OBSERVE, AccessError, UsersFile

# Nothing but what this server itself sends: no inline script, no frame, no other site.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# A page of another site cannot send it without asking first, and is never allowed to.
OWN_HEADER = "x-boardwarden"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9_.-]+))(?::[0-9]{1,5})?")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Access:
    """Who may see the page, and how it is known who they are.

    tls: certificate and key; proxies: from whom `user_header` is believed, and nothing else is
    taken; names: by which browsers reach the page, besides the address that it listens on.
    """

    users: UsersFile | None = None
    tls: tuple[Path, Path] | None = None
    proxies: tuple[Network, ...] = ()
    user_header: str = ""
    names: tuple[str, ...] = ()

    def right(self, user: str | None) -> str | None:
        """Return the right of a user who is known to be the one: None if there is none."""
        found = None if self.users is None or user is None else self.users.get(user)
        if found is not None:
            return found.right
        if self.proxies:
            return None if not user else OBSERVE
        return OBSERVE if self.users is None else None

    def words(self) -> str:
        """Return who may do what, in a clause."""
        if self.proxies:
            rest = "and control as the file of users says" if self.users else "and nobody controls"
            return f"whom the proxy names may look, {rest}"
        if self.users is not None:
            return "the file of users says who may look, and who may control"
        return "whoever uses this machine may look, and nobody controls: see boardwarden users"


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Return addresses or networks, such as 192.0.2.7 or 10.0.0.0/8; raise AccessError."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            raise AccessError(
                f"{text!r} is no address of a proxy: 192.0.2.7, or a network, 10.0.0.0/8."
            ) from None
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Return whether an address to listen on is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_access(host: str, access: Access) -> None:
    """Raise AccessError where the page would be open to others than are meant."""
    if bool(access.proxies) != bool(access.user_header):
        raise AccessError("--proxy and --user-header go together: from whom, and in which header.")
    for name in access.names:
        if not _is_name(name):
            raise AccessError(
                f"--name {name!r} is no name: give it without scheme and port, such as "
                "boards.example.org."
            )
    if is_loopback(host):
        return
    if not access.tls and not access.proxies:
        raise AccessError(
            f"On {host} passwords and figures would cross the network unencrypted: give --tls-cert "
            "and --tls-key, or --proxy and --user-header, or listen on 127.0.0.1."
        )
    if access.users is None and not access.proxies:
        raise AccessError(
            f"On {host} anyone who reaches it could look: give --users, a file made by "
            "boardwarden users, or listen on 127.0.0.1."
        )
    if not access.names and host in ("0.0.0.0", "::"):
        raise AccessError(
            f"On {host} give --name, by which browsers reach the page, such as boards.example.org."
        )


class Guard:
    """Refuses what comes by another name, from another site or around the proxy."""

    def __init__(self, app: ASGIApp, access: Access, host: str) -> None:
        self._app = app
        self._access = access
        local = (host, *_LOCAL_NAMES) if is_loopback(host) else (host,)
        self._names = {name.lower() for name in (*access.names, *local)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "websocket":  # there are none here
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        app, problem = self._app, self._problem(scope, Headers(scope=scope))
        if problem is not None:
            status, sentence = problem
            app = JSONResponse({"error": sentence}, status, {"connection": "close"})
        await app(scope, receive, _safe(send, scope))

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and sentence of a refusal; None if there is none."""
        if self._access.proxies and not self._is_proxy(scope):
            return 403, "This page is reached through its proxy only."
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may take one and this server the other: what follows would be a request that
            # no proxy saw. A refusal closes the connection.
            return 400, "A request has one length."
        hosts = headers.getlist("host")
        if len(hosts) != 1 or _name(hosts[0]) not in self._names:
            return 421, "This server is not called that: start it with --name."
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and scope[
            "path"
        ].startswith("/api/"):
            return 403, "That request comes from another site."
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, hosts[0]):
            return 403, "That request comes from another site."
        if scope["method"] not in ("GET", "HEAD"):
            return self._problem_of_post(origin, headers)
        return None

    def _problem_of_post(self, origin: str | None, headers: Headers) -> tuple[int, str] | None:
        if origin is None or OWN_HEADER not in headers:
            return 403, "That request does not come from this page."
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "A request is JSON."
        return None

    def _is_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        try:
            address = ipaddress.ip_address(client[0]) if client else None
        except ValueError:
            return False
        if address is not None and address.version == 6:  # IPv4 on a socket for both
            address = address.ipv4_mapped or address
        return address is not None and any(address in each for each in self._access.proxies)

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, _, place = origin.partition("://")
        if self._access.proxies:  # which may end TLS
            return scheme in ("http", "https") and place.lower() == host.lower()
        return scheme == ("https" if self._access.tls else "http") and place.lower() == host.lower()


def _name(host: str) -> str:
    """Return the name in a Host header, without its port; empty for what is no name."""
    found = _HOST.fullmatch(host)
    return "" if found is None else (found[1] or found[2]).lower()


def _is_name(name: str) -> bool:
    """Return whether a Host header can name that, with a port after it: a name or an address."""
    try:
        return bool(ipaddress.IPv6Address(name))
    except ValueError:
        return ":" not in name and _name(name) == name.lower() != ""


def _safe(send: Send, scope: Scope) -> Send:
    """Return a send that puts the headers of every answer."""
    is_api = scope["path"].startswith("/api/")

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            headers["cache-control"] = "no-store" if is_api else "no-cache"
        await send(message)

    return sending
