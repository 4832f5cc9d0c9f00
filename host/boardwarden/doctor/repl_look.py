"""Asks the REPL of a board that runs no agent what is on it."""

from __future__ import annotations

import ast
import asyncio
import re
import time
from dataclasses import dataclass

from boardwarden.deploy.choosing import DESKTOP, HeapUse, heap_use, way_of
from boardwarden.errors import LinkLost, NoAgent
from boardwarden.models import Model
from boardwarden.transport import transport_for
from boardwarden.transport.base import Transport
from boardwarden.transport.sim import RawRepl

_ENTER_S = 6.0
_RUN_S = 20.0
_BEGIN, _END = "<<<bw ", " bw>>>"
_ENTER = b"\r"
_PROMPT = re.compile(r"\n(>>>|\.\.\.|===) +\Z")  # the last is paste mode's; a block is indented
_PROMPT_S = (1.0, 2.0)  # to wait for a prompt, after a second Enter, too: it may still be booting
_LEAVE = b"\r\x02"
_SOFT_RESET = b"\x04"
_TAIL = 80  # characters, in which a prompt is

_PROBE = f"""\
import gc, os, sys
def look():
 def has(name):
  try:
   return __import__(name)
  except ImportError:
   return None
 version = place = None
 try:
  from warden import VERSION as version
  place = sys.modules['warden'].__file__
 except Exception:
  pass
 starts = []
 watching = False
 for name in ('boot.py', 'main.py'):
  try:
   with open(name) as file:
    for line in file:
     if 'warden.start(' in line.split('#')[0]:
      starts.append(name)
      watching = 'protect=False' in line
      break
  except OSError:
   pass
 try:
  state = os.statvfs(os.getcwd())
  disk = state[1] * state[4]
 except (OSError, AttributeError):
  disk = None
 gc.collect()
 lacks = [name for name in ('asyncio', '_thread', 'select', 'time', 'hashlib') if not has(name)]
 hasattr(has('machine'), 'Timer') or lacks.append('machine.Timer')
 what = sys.implementation
 return (sys.platform, getattr(what, '_machine', ''), list(what.version), getattr(what, '_mpy', 0),
  version, place, starts, gc.mem_free() if hasattr(gc, 'mem_free') else None, disk, lacks,
  watching, sys.maxsize >> 31 >> 1)
print({_BEGIN!r} + repr(look()) + {_END!r})
del look
"""


@dataclass(frozen=True)
class Firmware(Model):
    """What the REPL answered; `agent` is the version of the agent that could be started there."""

    machine: str | None = None
    firmware: str | None = None
    port: str | None = None
    mpy: str | None = None
    agent: str | None = None
    agent_place: str | None = None
    started_by: tuple[str, ...] = ()
    free_heap_bytes: int | None = None
    free_disk_bytes: int | None = None
    lacks: tuple[str, ...] = ()
    takes: HeapUse | None = None  # what the agent takes of the heap once it runs
    restarted: bool = False  # its program was stopped for this, and started again


async def probe(address: str, runs: bool) -> Firmware:
    """Ask the REPL at an address; raise NoAgent where no MicroPython answers.

    runs: whether a program may be running there. It is stopped, and started again by a soft reset,
    except where that would end MicroPython itself (the unix port). Else none is stopped: what only
    echoes, and shows no prompt when Enter is pressed, is a program that reads.
    """
    transport = transport_for(address)
    await transport.open()
    try:
        if not runs and not await _shows_prompt(transport):
            raise NoAgent(
                f"What is sent to {address} comes back, but no REPL prompt is there: a program "
                "echoes it.",
                address,
            )
        repl = RawRepl(transport)
        try:
            await asyncio.wait_for(repl.enter(), _ENTER_S)
        except asyncio.TimeoutError:
            raise NoAgent(
                f"No MicroPython answers at {address}: neither its agent nor its REPL.", address
            ) from None
        found: Firmware | None = None
        try:
            found = _firmware(*await asyncio.wait_for(repl.run(_PROBE), _RUN_S), runs)
        finally:
            await transport.write(_LEAVE)
            if found and found.restarted:
                await transport.write(_SOFT_RESET)
        return found
    except asyncio.TimeoutError:
        raise LinkLost(f"The REPL at {address} does not end its answer; reset the board.") from None
    finally:
        await transport.close()


async def _shows_prompt(transport: Transport) -> bool:
    """Press Enter, twice at most; return whether a prompt of MicroPython's REPL follows."""
    text = ""
    for limit_s in _PROMPT_S:
        await transport.write(_ENTER)
        until = time.monotonic() + limit_s
        while (left_s := until - time.monotonic()) > 0:
            try:
                data = await asyncio.wait_for(transport.read(), left_s)
            except asyncio.TimeoutError:
                break
            if not data:
                raise LinkLost("The board's REPL is gone.")
            text = (text + data.decode("utf-8", "replace"))[-_TAIL:]
            if _PROMPT.search(text):
                return True
    return False


def _firmware(printed: str, traceback: str, runs: bool) -> Firmware:
    text = printed.partition(_BEGIN)[2].partition(_END)[0]
    try:
        answer = ast.literal_eval(text)
        port, machine, version, mpy, agent, place, starts, heap, disk, lacks, watching, wide = (
            answer
        )
    except (ValueError, SyntaxError) as error:
        last = (traceback.strip().splitlines() or ["its answer is damaged"])[-1]
        raise LinkLost(f"The REPL could not say what the board is: {last}.") from error
    number = ".".join(str(part) for part in version[:3])
    return Firmware(
        machine=machine,
        firmware=f"{number}-{version[3]}" if len(version) > 3 and version[3] else number,
        port=port,
        mpy=f"{mpy & 0xFF}.{mpy >> 8 & 3}" if mpy else None,
        agent=agent,
        agent_place=place,
        started_by=tuple(starts),
        free_heap_bytes=heap,
        free_disk_bytes=disk,
        lacks=tuple(lacks),
        takes=None if agent is None or wide else heap_use(way_of(place), bool(watching)),
        restarted=runs and port not in DESKTOP,  # there a soft reset ends MicroPython,
    )
