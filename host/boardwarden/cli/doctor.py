"""`boardwarden doctor` and `boardwarden boards`: what answers, how well, and what to do next."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar

import typer

from boardwarden._program import (
    FAILED,
    checked,
    fail,
    print_json,
    print_line,
    print_rows,
    print_table,
    reported,
)
from boardwarden._protocol.shared_stream import LIVE_S
from boardwarden.crashes import Reset, restart
from boardwarden.deploy.choosing import HeapUse
from boardwarden.doctor.boards import (
    QUIET,
    Port,
    broker_boards,
    examined,
    network_boards,
    serial_ports,
)
from boardwarden.doctor.checkup import PROMPT, SILENT, Checkup, ask_repl, examine
from boardwarden.doctor.link_health import LinkHealth
from boardwarden.doctor.repl_look import Firmware
from boardwarden.render.status import Row, policy_rows, safe_rows
from boardwarden.render.text import NOTHING, count, duration, percent, size
from boardwarden.transport.address import FORMS, is_serial

from .options import ENVIRONMENT, JsonOption, YesOption, addresses, given, parse_duration, require
from .terminal import TerminalReporter, connecting, waiting

_ASK = (
    "No agent answers. Ask the REPL? That stops the program that runs there, and starts it again "
    "by a soft reset."
)
T = TypeVar("T")


def doctor(
    board: Annotated[
        str,
        typer.Argument(
            metavar="ADDRESS",
            envvar=ENVIRONMENT,
            show_default=False,
            help=f"{FORMS}. Else the only USB serial port.",
            autocompletion=addresses,
        ),
    ] = "",
    seconds: Annotated[
        str,
        typer.Option("--for", metavar="DURATION", help="How long to measure the link."),
    ] = "3s",
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a board and the link to it, and say what to do next.

    Exit status 2 if a problem was found.
    """
    length = checked(parse_duration, "--for", seconds, 0.5, 60)
    with reported():
        status = _doctor(given(board, "its address"), length, yes, as_json)
        sys.stdout.flush()
        if status:
            raise typer.Exit(status)


def boards(
    ports: Annotated[
        list[str] | None,
        typer.Argument(metavar="PORT...", help="Only these ports.", autocompletion=addresses),
    ] = None,
    broker: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="mqtt://broker or mqtts://user@broker: list the boards that it knows instead.",
        ),
    ] = "",
    network: Annotated[
        bool,
        typer.Option("--network", help="List the boards that announce themselves by mDNS instead."),
    ] = False,
    uptime: Annotated[
        bool,
        typer.Option(
            "--uptime",
            help="With --broker: listen for half a minute at most, and say how long each is up.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """List the serial ports, and what answers there: an agent, a REPL, nothing.

    Or the boards behind an MQTT broker, and which of them are connected to it.
    """
    with reported():
        if uptime and not broker:
            fail("--uptime is of a broker's boards, so it goes with --broker.")
        if network:
            if ports or broker:
                fail("--network lists boards of this network, so it goes without ports and broker.")
            require("boardwarden boards --network", "zeroconf", "zeroconf", "network")
            _network_boards(as_json)
        elif not broker:
            _boards(ports or [], as_json)
        elif ports:
            fail("--broker lists boards of a broker, so it goes without ports.")
        else:
            _broker_boards(broker, uptime, as_json)


def _doctor(address: str, seconds: float, yes: bool, as_json: bool) -> int:
    """Return the exit status."""
    with TerminalReporter(yes) as reporter:

        def progress(elapsed: float) -> None:
            reporter.step("measuring the link", round(elapsed * 10), round(seconds * 10))

        found = asyncio.run(_examine(address, seconds, progress))
        asking = f"asking the REPL at {address}"
        if is_serial(address) and found.answers == PROMPT:  # no program runs that it would stop
            found = asyncio.run(_waited_for(asking, ask_repl, found))
        if is_serial(address) and found.answers == SILENT and _may_stop(yes, reporter):
            found = asyncio.run(_waited_for(asking, ask_repl, found))
    if as_json:
        print_json(found.to_dict())
    else:
        print_rows(_rows(found))
    return 0 if found.well else FAILED


async def _examine(address: str, seconds: float, progress: Callable[[float], None]) -> Checkup:
    async with waiting(connecting(address)) as connected:

        def measuring(elapsed: float) -> None:
            connected()
            progress(elapsed)

        return await examine(address, seconds, measuring)


async def _waited_for(what: str, work: Callable[..., Awaitable[T]], *given: Any) -> T:
    """Return the result of work(*given); show meanwhile what is waited for."""
    async with waiting(what):
        return await work(*given)


def _may_stop(yes: bool, reporter: TerminalReporter) -> bool:
    """Return whether to use the REPL where a program may run, which it stops."""
    return yes or (sys.stdin.isatty() and sys.stderr.isatty() and reporter.confirm(_ASK))


def _boards(addresses: Sequence[str], as_json: bool) -> None:
    given = [Port(address) for address in addresses]
    what = "looking at the ports"
    ports = asyncio.run(_waited_for(what, examined, given or serial_ports()))
    if as_json:
        for port in ports:
            print_json(port.to_dict())
        return
    rows = [(port.address, port.answers, _what(port)) for port in ports]
    print_table(("port", "answers", "what it is"), rows, "There is no serial port here.")
    for port in ports:
        if port.problem and port.answers not in QUIET:
            print_line(port.problem)
    for port in ports:
        if port.lasting_name is not None:
            print_line(f"{port.lasting_name} stays the board that is at {port.address} now.")


def _broker_boards(address: str, uptime: bool, as_json: bool) -> None:
    what = f"asking {address}, and listening to its boards"
    found = asyncio.run(_waited_for(what, broker_boards, address, uptime))
    if as_json:
        for board in found:
            print_json(board.to_dict())
        return
    head: tuple[str, ...] = ("board", "is", "agent", "machine", "policy")
    rows: list[tuple[str, ...]] = [
        (board.board, board.state, board.agent or NOTHING, board.machine or NOTHING, board.stored)
        for board in found
    ]
    if uptime:
        head = (*head, "up")
        rows = [(*row, duration(board.uptime_s)) for row, board in zip(rows, found, strict=True)]
    print_table(head, rows, "No board has been at this broker, as far as this user may read.")
    if any(board.silent_s is not None for board in found):
        print_line(
            "silent: it said at some time that it is online, and nothing came from it that this "
            "user may read. It is gone or asleep, or its loop is blocked; one that this user may "
            f"not write to can also be quiet for {duration(LIVE_S)}."
        )


def _network_boards(as_json: bool) -> None:
    try:
        what = "listening for boards on this network"
        found = asyncio.run(_waited_for(what, network_boards))
    except OSError as error:
        fail(f"Cannot listen on this network: {error.strerror or error}.")
    if as_json:
        for board in found:
            print_json(board.to_dict())
        return
    rows = [(each.board, each.address or NOTHING, each.host or NOTHING) for each in found]
    print_table(("board", "address", "host"), rows, "No board announces itself on this network.")


def _what(port: Port) -> str:
    if port.board is not None:
        board = port.board
        return f"{board.machine}, MicroPython {board.firmware}, agent {board.agent}"
    return " ".join(part for part in (port.description, port.usb_id) if part) or NOTHING


def _rows(found: Checkup) -> Iterator[Row]:
    yield "address", found.address
    if found.board is not None:
        board = found.board
        yield "board", f"{board.machine or NOTHING}, MicroPython {board.firmware or NOTHING}"
        yield "agent", f"{board.agent or NOTHING}, running; protocol {board.protocol}"
    elif found.repl is None:
        yield "answers", found.problem or NOTHING
    if found.repl is not None:
        yield from _repl_rows(found.repl)
    if found.takes is not None:
        yield "takes", _takes(found.takes)
    yield from policy_rows(found.stored_policy)
    yield from safe_rows(found.safe_mode)
    if found.crash is not None:
        yield "crashed", _crash(found.crash)
    yield from _capability_rows(found)
    if found.link is not None:
        yield from _link_rows(found.link)
    label = "next"
    for sentence in found.next:
        yield label, sentence
        label = ""


def _repl_rows(repl: Firmware) -> Iterator[Row]:
    yield (
        "board",
        f"{repl.machine or NOTHING}, MicroPython {repl.firmware}, .mpy {repl.mpy or NOTHING}",
    )
    if repl.agent is None:
        yield "agent", "not installed"
    else:
        by = " and ".join(repl.started_by)
        started = f"started by {by}" if by else "not started by boot.py or main.py"
        yield "agent", f"{repl.agent} at {repl.agent_place}, {started}, does not answer"
    if repl.takes is not None:
        yield "takes", _takes(repl.takes)
    yield "free", f"{size(repl.free_heap_bytes)} of heap, {size(repl.free_disk_bytes)} of disk"
    if repl.lacks:
        yield "lacks", ", ".join(repl.lacks)
    if repl.restarted:
        yield "program", "was stopped for this, and started again"


def _crash(crash: Reset) -> str:
    """Return what ended the boot before this one."""
    cause = str(restart(None, (crash,), None))
    return f"{cause}, {crash.count} times in a row" if crash.count > 1 else cause


def _takes(takes: HeapUse) -> str:
    """Return what the agent takes, and where it could be put to take less."""
    ways = (
        (takes.files_bytes, "as files"),
        (takes.romfs_bytes, "from ROMFS"),
        (takes.frozen_bytes, "frozen"),
    )
    known = [f"{size(taken)} {how}" for taken, how in ways if taken is not None]
    return f"{' or '.join(known)} of heap, {takes.state}"


def _capability_rows(found: Checkup) -> Iterator[Row]:
    have = [name for name, known in found.capabilities.items() if known.available]
    if have:
        yield "measures", ", ".join(have)
    label = "cannot"
    for name, known in found.capabilities.items():
        if not known.available:
            yield label, f"{name}: {known.reason}"
            label = ""


def _more(link: LinkHealth) -> str:
    """Return what few links have, for the end of the line."""
    malformed = f", {link.malformed_frames} that make no sense" if link.malformed_frames else ""
    return malformed + (f"; {count(link.restarts, 'restart')}" if link.restarts else "")


def _link_rows(link: LinkHealth) -> Iterator[Row]:
    state = "healthy" if not link.problems else "not healthy"
    yield (
        "link",
        f"{state}: in {duration(link.measured_s)} {link.lost} of {link.requests} requests lost "
        f"({percent(link.loss)}), answers take {duration(link.latency_s)}, at worst "
        f"{duration(link.latency_worst_s)}; {count(link.samples, 'sample')}, "
        f"{count(link.gaps, 'gap')}, "
        f"{link.bad_frames} bad and {link.dropped_frames} dropped frames{_more(link)}",
    )
