"""The page's addresses: its files, who is signed in, the streams, and requests to boards.

Every answer goes through Guard, which refuses a request by its Host, its Origin and who sends it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import zlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from boardwarden._quantities import THRESHOLD_METRICS

from . import requests
from .access import (
    CONTROL,
    LONGEST_S,
    Access,
    Brake,
    Sessions,
    host_name,
    is_loopback,
    is_password,
)
from .board_view import BoardView
from .fleet_view import STATES, FleetView
from .requests import Answer, BadRequest, RequestLog

_STATIC = Path(__file__).parent / "static"
_MAX_BODY = 128 * 1024
_BODY_S = 10.0  # in which a request's body has to come
_CHECK_S = 5.0  # how often an open stream looks whether its user may still see it
# Nothing but what this server itself sends: no inline script, no frame, no other site.
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'"
)
_HEADERS = {
    "content-security-policy": _CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
# A page of another site cannot send it without asking first, and is never allowed to.
_OWN_HEADER = "x-boardwarden"
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Page:
    """The page of the boards that a FleetView shows."""

    def __init__(
        self, fleet: FleetView, access: Access, host: str, port: int, recording: Path | None
    ) -> None:
        self._fleet = fleet
        self._recording = recording
        self._access = access
        self._sessions = Sessions()
        self._brake = Brake()
        self._hashing = asyncio.Lock()  # one password at a time: each takes memory and a core
        self._log = RequestLog()
        secure = access.tls is not None
        # Browsers send a cookie to all ports of a host: each server there has one of its own.
        self._cookie = f"{'__Host-' if secure else ''}boardwarden-{port}"
        self._cookie_options: dict[str, Any] = {
            "httponly": True,
            "secure": secure,
            "samesite": "strict",
            "path": "/",
        }
        self.app: ASGIApp = Guard(
            Starlette(
                routes=[
                    Route("/", _index),
                    Mount("/static", StaticFiles(directory=_STATIC)),
                    Route("/api/session", self._session),
                    Route("/api/login", self._login, methods=["POST"]),
                    Route("/api/logout", self._logout, methods=["POST"]),
                    Route("/api/fleet/events", self._fleet_events),
                    Route("/api/board/events", self._board_events),
                    Route("/api/board/request", self._board_request, methods=["POST"]),
                    Route("/api/requests", self._requests),
                ]
            ),
            access,
            host,
        )

    # --- who it is ------------------------------------------------------------------------------

    def _user(self, request: Request) -> str | None:
        """Return who sends a request; None if nobody known does."""
        if self._access.proxies:  # Guard let only proxies in
            found = request.headers.getlist(self._access.user_header)
            return found[0] if len(found) == 1 and found[0] else None
        signed_in = self._sessions.user(request.cookies.get(self._cookie, ""))
        if signed_in is None or self._access.users is None:
            return None
        now = self._access.users.get(signed_in.name)
        # Not who was removed, or got another password since.
        return now.name if now is not None and now.hash == signed_in.hash else None

    def _may_look(self, request: Request) -> bool:
        return self._access.right(self._user(request)) is not None

    async def _session(self, request: Request) -> Response:
        """Answer who is signed in, with what right, and what there is to choose from."""
        user = self._user(request)
        right = self._access.right(user)
        return JSONResponse(
            {
                "user": user,
                "right": right,
                "login": self._access.users is not None and not self._access.proxies,
                "states": STATES,
                "metrics": THRESHOLD_METRICS,
            }
        )

    async def _login(self, request: Request) -> Response:
        if self._access.users is None or self._access.proxies:
            return _error(404, "There is nothing to sign in to.")
        peer = request.client.host if request.client else ""
        body = await _body(request)
        name, password = body.get("name"), body.get("password")
        if not (isinstance(name, str) and isinstance(password, str)):
            return _error(400, "Give a name and a password.")
        async with self._hashing:
            wait = self._brake.wait_s(peer)
            if wait:
                return _error(429, f"Too many attempts: try again in {wait:.0f} s.")
            user = self._access.users.get(name)
            right = await asyncio.to_thread(is_password, user, password)
            if user is None or not right:
                self._brake.failed(peer, name)
                return _error(403, "The name or the password is wrong.")
        self._brake.succeeded(peer, name)
        answer = JSONResponse({"user": user.name, "right": user.right})
        token = self._sessions.begin(user)
        answer.set_cookie(self._cookie, token, max_age=int(LONGEST_S), **self._cookie_options)
        return answer

    async def _logout(self, request: Request) -> Response:
        self._sessions.end(request.cookies.get(self._cookie, ""))
        answer = JSONResponse({})
        answer.delete_cookie(self._cookie, **self._cookie_options)
        return answer

    # --- streams --------------------------------------------------------------------------------

    async def _fleet_events(self, request: Request) -> Response:
        return self._stream(request, self._fleet.messages())

    async def _board_events(self, request: Request) -> Response:
        address = request.query_params.get("board", "")
        return self._stream(request, BoardView(self._fleet, address, self._recording).messages())

    def _stream(self, request: Request, messages: AsyncIterator[bytes]) -> Response:
        if not self._may_look(request):
            return _error(401, "Sign in first.")
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        packed = "gzip" in request.headers.get("accept-encoding", "")
        sent = self._until_ended(request, messages)
        return StreamingResponse(
            _packed(sent) if packed else sent,
            media_type="text/event-stream",
            headers={"content-encoding": "gzip"} if packed else None,
        )

    async def _until_ended(
        self, request: Request, messages: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Yield the messages as long as the user may see them."""
        loop = asyncio.get_running_loop()
        checked = loop.time()
        try:
            yield b"retry: 1000\n\n"
            async for message in messages:
                if loop.time() - checked > _CHECK_S:
                    checked = loop.time()
                    if not self._may_look(request):
                        return
                yield message
        finally:
            await messages.aclose()  # type: ignore[attr-defined]

    # --- requests -------------------------------------------------------------------------------

    async def _board_request(self, request: Request) -> Response:
        """Have a board do something, for those who may; answer what it said."""
        user = self._user(request)
        right = self._access.right(user)
        if right is None:
            return _error(401, "Sign in first.")
        if user is None or right != CONTROL:
            return _error(403, "You may look, and not change anything.")
        body = await _body(request)
        name, arguments = body.get("name"), body.get("arguments", {})
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return _error(400, "A request has a name and arguments.")
        watched = self._fleet.find(str(body.get("board", "")))
        if watched is None:
            return _error(404, "This server follows no such board.")
        if watched.board is None:
            answer = Answer(False, watched.problem or "The board was not reached yet.")
        else:
            try:
                answer = await requests.send(watched.board, name, arguments)
            except BadRequest as error:
                return _error(400, str(error))
        if name not in requests.ONLY_READ:
            what = requests.words(name, arguments)
            self._log.add(user, watched.address, what, answer)
        return JSONResponse(asdict(answer))

    async def _requests(self, request: Request) -> Response:
        """List the requests that were sent to boards, and who sent them, the newest first."""
        if not self._may_look(request):
            return _error(401, "Sign in first.")
        board = request.query_params.get("board", "")
        return JSONResponse({"requests": self._log.entries(board)})


async def _index(request: Request) -> Response:
    return FileResponse(_STATIC / "index.html")


async def _body(request: Request) -> dict[str, Any]:
    """Return a request's JSON object; an empty one where it is none, or is too long."""
    try:
        found = json.loads(await asyncio.wait_for(_read(request), _BODY_S))
    except (ValueError, RecursionError, ClientDisconnect, asyncio.TimeoutError):
        return {}
    return found if isinstance(found, dict) else {}


async def _read(request: Request) -> bytes:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > _MAX_BODY:
            return b""
    return data


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status)


async def _packed(messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the messages compressed with gzip, each as soon as it comes."""
    packer = zlib.compressobj(1, wbits=31)
    try:
        async for message in messages:
            yield packer.compress(message) + packer.flush(zlib.Z_SYNC_FLUSH)
    finally:
        await messages.aclose()  # type: ignore[attr-defined]


# --- what is let in -------------------------------------------------------------------------------


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
        await app(scope, receive, _with_headers(send, scope))

    def _problem(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Return status and sentence of a refusal; None if there is none."""
        if self._access.proxies and not self._is_proxy(scope):
            return 403, "This page is reached through its proxy only."
        if "content-length" in headers and "transfer-encoding" in headers:
            # A proxy may take one and this server the other: what follows would be a request that
            # no proxy saw. A refusal closes the connection.
            return 400, "A request has one length."
        hosts = headers.getlist("host")
        if len(hosts) != 1 or host_name(hosts[0]) not in self._names:
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
        if origin is None or _OWN_HEADER not in headers:
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


def _with_headers(send: Send, scope: Scope) -> Send:
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
