#!/usr/bin/env python3
"""Count the heap that `warden.MqttLink` takes on a board of 32 bits, beside the link over stdin.

Just after `start()`, for each way of installing the agent. The client is
firmware_tests/umqtt_like.py, which is loaded before and does not count. See tools/heap_count.py for
what is counted.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from boardwarden.deploy.compiler import Compiler
from boardwarden.deploy.parts import join, read_rooms
from build_firmware import build
from firmware_errors import BuildError, say
from footprint import REPO, Files
from heap_count import Unix32

_CLIENT = """\
import umqtt_like
client = umqtt_like.Robust('green-1', 'broker', keepalive=60)
client.set_callback(print)"""
_LINKS = ("sys.stdin.buffer", "warden.MqttLink(client, 'green-1')")
_START = """\
import warden
warden.start(link={link}, protect={protect})
def _sweep(depth):
    return depth and _sweep(depth - 1)
_sweep(40)  # what was on the C stack is taken for pointers"""


def count(way: str, protect: bool, agent: Files) -> int:
    """Return the bytes that MQTT takes more; way: "files", "romfs" or "frozen"."""
    board = Unix32(build("unix32-frozen" if way == "frozen" else "unix32"))
    shown = {"umqtt_like.mpy": _client(), **({} if way == "frozen" else agent.of("x86"))}
    taken = []
    for link in _LINKS:
        steps = {"client": _CLIENT, "start": _START.format(link=link, protect=protect)}
        taken.append(board.count(steps, shown, in_place=way == "romfs")["start"].bytes)
    return taken[1] - taken[0]


def _client() -> bytes:
    source = REPO / "firmware_tests" / "umqtt_like.py"
    with tempfile.TemporaryDirectory(prefix="boardwarden-") as folder:
        made = Path(folder) / "umqtt_like.mpy"
        Compiler().compile("umqtt_like.py", source, made)
        return made.read_bytes()


def main() -> int:
    try:
        agent = Files(join(read_rooms(REPO / "device", REPO / "shared_schema")))
        print("bytes of heap that MqttLink takes beside stdin and stdout")
        print(f"{'':8}{'watching':>10}{'deciding':>10}")
        for way in ("files", "romfs", "frozen"):
            print(f"{way:8}{count(way, False, agent):10}{count(way, True, agent):10}")
    except BuildError as error:
        say(f"mqtt_footprint: {error}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
