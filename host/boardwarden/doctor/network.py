"""The boards that announce themselves on this network, by multicast DNS (RFC 6762, RFC 6763)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from boardwarden.models import Model

if TYPE_CHECKING:
    from zeroconf.asyncio import AsyncZeroconf

SERVICE = "_boardwarden._tcp.local."
LISTEN_S = 2.0  # RFC 6762 lets who answers wait for up to 120 ms, and messages get lost
_RESOLVE_MS = 1500


@dataclass(frozen=True)
class NetworkBoard(Model):
    """A board that announced itself; `address` is None where it did not say where it is."""

    board: str = ""
    address: str | None = None
    host: str | None = None


async def network_boards(listen_s: float = LISTEN_S) -> list[NetworkBoard]:
    """Return the boards that answer within so many seconds, by name; raise OSError.

    Needs zeroconf.
    """
    from zeroconf import ServiceStateChange, Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

    found: dict[str, None] = {}

    def on_change(
        zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        if state_change is ServiceStateChange.Removed:
            found.pop(name, None)
        else:
            found[name] = None

    async with AsyncZeroconf() as network:
        browser = AsyncServiceBrowser(network.zeroconf, SERVICE, handlers=[on_change])
        try:
            await asyncio.sleep(listen_s)
        finally:
            await browser.async_cancel()
        boards = await asyncio.gather(*(_resolved(network, name) for name in sorted(found)))
    return [*boards]


async def _resolved(network: AsyncZeroconf, name: str) -> NetworkBoard:
    from zeroconf import BadTypeInNameException
    from zeroconf.asyncio import AsyncServiceInfo

    board = name.removesuffix(f".{SERVICE}")
    try:
        info = AsyncServiceInfo(SERVICE, name)
    except BadTypeInNameException:  # with control characters, say
        return NetworkBoard(board)
    if not await info.async_request(network.zeroconf, _RESOLVE_MS):
        return NetworkBoard(board)
    ips = info.parsed_scoped_addresses()
    host = info.server.rstrip(".") if info.server else None
    if not ips or not info.port:
        return NetworkBoard(board, None, host)
    ip = f"[{ips[0]}]" if ":" in ips[0] else ips[0]
    return NetworkBoard(board, f"tcp://{ip}:{info.port}", host)
