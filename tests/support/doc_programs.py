"""Runs the programs of a page: the board's on MicroPython's unix port, the host's on CPython."""

import ast
import asyncio
import contextlib
import os
import pty
import re
import shutil
import sys
import tty
from pathlib import Path

from certificates import certificate
from cli_process import LIMIT_S, kill_started, start
from doc_blocks import prints
from free_ports import free_port
from mosquitto_server import Mosquitto
from places import REPO, SUPPORT

import boardwarden
from boardwarden.transport.fd_stream import FdStream
from boardwarden.transport.sim import board_path, find_micropython

MACHINE = SUPPORT / "on_board" / "machine.py"  # what boards have, and the unix port lacks
_BROKER = "broker.example"
_UMQTT = f"""\
import sys
sys.path.append({str(REPO / "firmware_tests")!r})
from umqtt_like import Robust as MQTTClient
"""
_SAMPLES = 3
_PYTHON = [sys.executable, "-W", "error"]
_FRAGMENT = """\
import asyncio
import boardwarden

async def main():
    async with boardwarden.connect("sim") as board:
{}
asyncio.run(main())
"""


class Programs:
    """A context manager; `folder` is where the page's files are saved.

    `addresses` has, for each board address that the page names, the simulated board to take.
    """

    def __init__(self, folder, setenv):
        self.folder = folder
        self._setenv = setenv
        self.broker = None  # that a program of the page's is connected to,
        self._at_broker = None  # and that program
        self.addresses = {"/dev/ttyACM0": "sim", "qemu:firmware.elf": "sim"}
        self._ports = {number: str(free_port()) for number in ("8765", "8766")}
        self._open = contextlib.AsyncExitStack()

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await kill_started()
        await self._open.aclose()

    # --- the board's ----------------------------------------------------------------------------

    async def board(self, block, expected):
        """Run a board's program until it has shown that it works, and printed what is expected."""
        tree = ast.parse(block.text)
        _check_names(tree, "warden", board_names())
        file = self.folder / (block.name or f"line_{block.line}.py")
        file.write_text(self._local(block.text))
        link = _link(tree)
        shutil.copy(MACHINE, self.folder)
        if '"board.der"' in block.text:
            certificate(self.folder)
        self._lend_timer(tree)
        if link == "MqttLink":
            await self._at_a_broker(file)
        elif link in ("UART", "TcpServer", "UdpLink"):
            await self._stays(file, link)
        elif link == "False":
            await self._alone(file, expected)
        elif link == "":
            await self._watched(file, expected)
            self.addresses["/dev/ttyACM0"] = f"sim:{file.name}"
        else:
            raise AssertionError(f"{block}: how is its link {link} reached?")

    async def _watched(self, file, expected):
        """It runs beside an agent that answers, and nothing in it raises."""
        printed = ""
        async with boardwarden.connect(f"sim:{file}") as board:

            async def listen():
                nonlocal printed
                async for text in board.console():
                    printed += text

            listening = asyncio.create_task(listen())
            await board.start_monitoring(0.2, budget=1.0)
            for _ in range(_SAMPLES):
                status = await board.wait_sample()
            deadline = asyncio.get_running_loop().time() + LIMIT_S / 2
            while not (prints(expected, printed) and (printed or not _says(file))):
                assert board.connected, printed
                assert asyncio.get_running_loop().time() < deadline, f"it printed {printed!r}"
                status = await board.wait_sample()
            listening.cancel()
            assert board.connected, printed
            assert status.overhead.faults == 0
            failed = [e.subject for e in board.recent_events if e.kind == "callback_failed"]
            assert failed == []
        assert "Traceback" not in printed, printed

    async def _alone(self, file, expected):
        """It needs no host: it prints what is expected, or ends well."""
        process = await self._micropython(file, stdout=asyncio.subprocess.PIPE)
        if not expected:
            printed, _ = await asyncio.wait_for(process.communicate(), LIMIT_S)
            assert process.returncode == 0, printed.decode()
            return
        printed = ""
        until = asyncio.get_running_loop().time() + LIMIT_S / 2
        while not prints(expected, printed):
            left = until - asyncio.get_running_loop().time()
            assert left > 0, f"it printed {printed!r}"
            line = await asyncio.wait_for(process.stdout.readline(), left)
            assert line, printed
            printed += line.decode()
        assert "Traceback" not in printed, printed

    async def _stays(self, file, link):
        """It runs on, for the page's next blocks, at a line of its own."""
        if link == "UART":
            line, self.addresses["/dev/ttyUSB0"] = await self._wire()
            self._setenv("LINE", line)
        self._setenv("STAYS", "yes")
        output = file.with_suffix(".out")
        with output.open("wb") as sink:
            process = await self._micropython(file, stdout=sink)
        self._setenv("STAYS", "")
        if link == "TcpServer":
            text = file.read_text()
            port = next(port for port in self._ports.values() if port in text)
            self.addresses["tcp://192.0.2.7:8765"] = f"tcp://127.0.0.1:{port}"
            try:
                await _listens(port, process)
            except asyncio.TimeoutError:
                raise AssertionError(f"it does not listen:\n{output.read_text()}") from None

    async def _at_a_broker(self, file):
        """It runs on, connected to a broker, which gets its state; the one before it ends."""
        if self.broker is None:
            folder = self.folder / "broker"
            for name in ("umqtt", "broker"):
                (self.folder / name).mkdir()
            (self.folder / "umqtt" / "robust.py").write_text(_UMQTT)
            self.broker = self._open.enter_context(Mosquitto(folder))
        else:
            await _end(self._at_broker)
        broker = self.broker
        states = _states(broker)
        text = file.read_text().replace(f'"{_BROKER}"', f'"127.0.0.1", {broker.port}')
        file.write_text(text)
        self._at_broker = await self._micropython(file)
        deadline = asyncio.get_running_loop().time() + LIMIT_S
        while _states(broker) == states:
            assert asyncio.get_running_loop().time() < deadline, broker.log()
            await asyncio.sleep(0.05)

    async def _micropython(self, file, **options):
        process = await asyncio.create_subprocess_exec(
            find_micropython(),
            str(file),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "MICROPYPATH": board_path()},
            **{"stdout": asyncio.subprocess.DEVNULL, **options},
        )
        self._open.push_async_callback(_end, process)
        return process

    async def _wire(self):
        """Return the names of the two ends of a serial line."""
        ends, streams = [], []
        for _ in range(2):
            near, far = pty.openpty()
            tty.setraw(far)
            self._open.callback(os.close, far)
            ends.append(os.ttyname(far))
            streams.append(FdStream(near, "the wire"))
            self._open.callback(streams[-1].close)
        for source, sink in (streams, reversed(streams)):
            carrying = asyncio.create_task(_carry(source, sink))
            self._open.callback(carrying.cancel)
        return ends

    def _lend_timer(self, tree):
        """Let the programs that run from now on have a timer, if this one has no other way."""
        imported = {name for node in ast.walk(tree) for name in _imported(node)}
        ticks = any(isinstance(n, ast.Attribute) and n.attr == "poll" for n in ast.walk(tree))
        self._setenv("TIMER", "" if "asyncio" in imported or ticks else "yes")

    # --- the host's -----------------------------------------------------------------------------

    async def host(self, block):
        """Run a host's program to its end, or until it has printed all that it prints in order."""
        text = whole(block.text)
        tree = ast.parse(text)
        _check_names(tree, "boardwarden", set(boardwarden.__all__))
        file = self.folder / (block.name or f"line_{block.line}.py")
        text = self._local(text)
        for address, simulated in self.addresses.items():
            text = text.replace(f'"{address}"', f'"{simulated}"')
        file.write_text(text)
        process = await start(command=[*_PYTHON, file], PYTHONUNBUFFERED="1")
        self._open.push_async_callback(_end, process)
        if "async for" not in text:
            out, err = await asyncio.wait_for(process.communicate(), LIMIT_S)
            assert (process.returncode, err.decode()) == (0, ""), f"{block}\n{out.decode()}"
            return
        for _ in range(_count_prints(tree)):
            line = await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
            assert line, (str(block), (await process.stderr.read()).decode())

    def _local(self, text):
        for number, port in self._ports.items():
            text = re.sub(rf"\b{number}\b", port, text)
        return text.replace('"192.0.2.7"', '"127.0.0.1"')


def is_fragment(text):
    """Tell whether it is what a host's program does with a `board` that it has."""
    return re.match(r"(async with|await) board\.", text) is not None


def whole(text):
    """Return the program that a fragment is from; any other text as it is."""
    if not is_fragment(text):
        return text
    lines = text.splitlines(keepends=True)
    return _FRAGMENT.format("".join(" " * 8 + line for line in lines))


async def _carry(source, sink):
    while data := await source.read():
        await sink.write(data)


async def _listens(port, process):
    async def knock():
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if process.returncode is not None:
                    raise asyncio.TimeoutError from None  # it never will
                await asyncio.sleep(0.02)
                continue
            writer.close()
            return

    await asyncio.wait_for(knock(), LIMIT_S)


async def _end(process):
    if process.returncode is None:
        process.kill()
    await process.communicate()


def _states(broker):
    """Return how often a board has said that it is online."""
    lines = broker.log().splitlines()
    return sum("Received PUBLISH" in line and "/state" in line for line in lines)


def _imported(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) else []


def _link(tree):
    """Return what `warden.start` is given as its link, in a word; "" for nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "warden.start":
            for keyword in node.keywords:
                if keyword.arg == "link":
                    return ast.unparse(keyword.value).partition("(")[0].rpartition(".")[2]
            return ""
    raise AssertionError("it starts no agent")


def _check_names(tree, module, known):
    """Everything that the code takes from the module is there, in what runs seldom, too."""
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == module
    }
    assert used <= known, f"{module} has no {', '.join(sorted(used - known))}"


def board_names():
    """Return what `import warden` gives: what its __init__ has, and what is put or loaded there."""
    names = set()
    for node in ast.parse((REPO / "device/warden/__init__.py").read_text()).body:
        if isinstance(node, ast.ImportFrom):
            names |= {alias.name for alias in node.names}
    for file in ("policy/publish", "public"):
        for node in ast.walk(ast.parse((REPO / f"device/warden/{file}.py").read_text())):
            if not isinstance(node, ast.Assign):
                continue
            value = node.value
            if isinstance(value, ast.Dict):
                names |= {key.value for key in value.keys if isinstance(key, ast.Constant)}
            target = ast.unparse(node.targets[0])
            if target in ("_PUBLIC", "_PLACES"):
                public = value.args[0] if isinstance(value, ast.Call) else value  # const(…)
                listed = ast.literal_eval(public)
                if target == "_PLACES":  # each a module, and what is public of it
                    listed = ["run", *(name for line in listed for name in line.split()[1:])]
                names |= set(listed)
    assert {"start", "allocate", "TcpServer"} <= names
    return {name for name in names if not name.startswith("_")}


def _says(file):
    """Tell whether a program prints something unless something goes wrong."""
    return _count_prints(ast.parse(Path(file).read_text())) > 0


def _count_prints(tree):
    """Return how many calls of print there are outside the handling of exceptions and ifs."""
    if isinstance(tree, (ast.ExceptHandler, ast.If)) and "startswith" not in ast.unparse(tree):
        return 0
    here = isinstance(tree, ast.Call) and ast.unparse(tree.func) == "print"
    return here + sum(map(_count_prints, ast.iter_child_nodes(tree)))
