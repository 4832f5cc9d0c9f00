"""`boardwarden boards --network`: boards that announce themselves by multicast DNS, on loopback."""

import asyncio
import contextlib
import json
import os
import socket

import pytest
from cli_process import run
from typer.testing import CliRunner
from zeroconf import ServiceInfo
from zeroconf.asyncio import AsyncZeroconf

from boardwarden.cli.app import app
from boardwarden.doctor import boards
from boardwarden.doctor.boards import SERVICE, NetworkBoard

pytestmark = pytest.mark.usefixtures("no_leftovers")


@contextlib.asynccontextmanager
async def announced(*boards):
    """Announce boards, (name, port, host), as a board with an mDNS responder does."""
    async with AsyncZeroconf(interfaces=["127.0.0.1"]) as responder:
        infos = [
            ServiceInfo(
                SERVICE,
                f"{name}.{SERVICE}",
                port,
                addresses=[socket.inet_aton("127.0.0.1")],
                server=f"{host}.",
            )
            for name, port, host in boards
        ]
        # Each probes for a second, then announces itself for another.
        announcing = await asyncio.gather(*map(responder.async_register_service, infos))
        await asyncio.gather(*announcing)
        yield
        await responder.async_unregister_all_services()


async def test_boards_that_announce_themselves_are_listed_with_their_addresses():
    first, second = (f"green-{number}-{os.getpid()}" for number in (1, 2))  # others may run tests
    odd = f"odd-{os.getpid()} \u202e"
    boards = [(second, 8766, "green-2.local"), (first, 8765, "green-1.local"), (odd, 1, "o.local")]
    async with announced(*boards):
        words = ("boards", "--network")
        done, told = await asyncio.gather(run(*words), run(*words, "--json"))
    assert (done.status, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["board", "address", "host"]
    assert [first, "tcp://127.0.0.1:8765", "green-1.local"] in lines
    assert lines.index([second, "tcp://127.0.0.1:8766", "green-2.local"]) > 1
    assert "\u202e" not in done.out + told.out
    found = {each["board"]: each for each in map(json.loads, told.out.splitlines())}
    assert found[first] == {
        "board": first,
        "address": "tcp://127.0.0.1:8765",
        "host": "green-1.local",
    }
    assert found[odd]["address"] == "tcp://127.0.0.1:1"


async def test_a_name_that_is_none_has_no_address():
    async with AsyncZeroconf(interfaces=["127.0.0.1"]) as responder:
        assert await boards._resolved(responder, f"a\x1b[2J.{SERVICE}") == NetworkBoard("a\x1b[2J")


def test_a_network_without_boards_is_said(monkeypatch):
    async def none():
        return []

    monkeypatch.setattr("boardwarden.cli.doctor.network_boards", none)
    shown = CliRunner().invoke(app, ["boards", "--network"])
    assert (shown.exit_code, shown.output) == (0, "No board announces itself on this network.\n")


async def test_a_network_goes_without_a_broker_and_uptimes_with_one():
    for options in (("--network", "--broker", "mqtt://b"), ("--uptime",)):
        wrong = await run("boards", *options)
        assert (wrong.status, wrong.out, wrong.err.count("\n")) == (2, "", 1)
