"""Runs the commands of a page's console blocks, or checks what of them cannot run here."""

import asyncio
import re
import shutil
import signal
import sys
from pathlib import Path

import typer.main
from cli_process import LIMIT_S, finish, run, start
from doc_blocks import prints
from mosquitto_server import Mosquitto
from places import REPO, SUPPORT
from repl_board import ReplBoard

from boardwarden.cli.app import app

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# What a block may say that is not run here, and why.
NOT_RUN = {
    "git": "it needs the network",
    "cd": "it is about the reader's own shell",
    "export": "likewise",
}
_NEED_REPL = ("deploy", "boards", "doctor", "mpremote")
_ASK = ("apply", "deploy")  # before they change something: here nobody is asked
_SERIAL = "/dev/ttyACM0"
_BROKER = "mqtt://broker.example"
_AT_BROKER = "green-1"  # the board that pages name there
_APPLICATION = b"""\
import asyncio

async def main():
    while True:
        await asyncio.sleep_ms(100)

asyncio.run(main())
"""
_SOURCES = REPO / "build" / "firmware" / "source"


def cli():
    """Return the options that each command of boardwarden takes; "" has those of all."""
    group = typer.main.get_command(app)
    found = {name: _options(command) for name, command in group.commands.items()}
    found[""] = _options(group)
    return found


def _options(command):
    return {word for each in command.params for word in (*each.opts, *each.secondary_opts)} | {
        "--help"
    }


class Commands:
    """A context manager: the commands of one page, in its folder."""

    def __init__(self, programs, with_repl):
        self._programs = programs
        self._with_repl = with_repl
        self._repl = None
        self._options = cli()
        self._broker = None

    def __enter__(self):
        if self._with_repl:
            folder = self._programs.folder / "board"
            folder.mkdir()
            board = ReplBoard(folder)
            board.put({"main.py": _APPLICATION})
            self._repl = board.__enter__()
        return self

    def __exit__(self, *what):
        if self._repl:
            self._repl.__exit__(*what)
        if self._broker:
            self._broker.stop()

    async def do(self, command):
        """Run a command; it must end well, and print what the page shows."""
        name, *words = command.words
        kinds = {"boardwarden": self._boardwarden, "mpremote": self._mpremote}
        checks = {"make": check_make, "pip": check_pip}
        if name in kinds:
            await kinds[name](words, command.shown)
        elif name in checks:
            checks[name](words)
        else:
            assert name in NOT_RUN, f"nothing is known of the command {name}"

    async def _boardwarden(self, words, shown):
        check_options(words, self._options)
        if any(_BROKER in word for word in words):
            await self._start_broker()
            words = [word.replace(_BROKER, self._broker.address) for word in words]
        words = self._with_addresses(words)
        if words[0] in _ASK and not {"--yes", "--dry-run"} & set(words):
            words.append("--yes")
        if words[0] == "doctor" and "--for" not in words:
            words += ["--for", "0.5"]  # what it measures is tests/cli/test_doctor.py's
        if words[0] == "boards" and self._repl and "--broker" not in words:
            words.append(self._repl.port)
        if _endless(words):
            await _run_a_while(words)
            return
        named = self._programs.addresses[_SERIAL]  # for commands that name no board
        done = await run(*words, BOARDWARDEN_BOARD=named)
        assert done.status == 0, (words, done.out, done.err)
        assert prints(shown, done.out), (words, shown, done.out)

    async def _start_broker(self):
        """Start a real broker, with a fake board unless the page's program is at one already."""
        if self._broker is None:
            self._broker = self._programs.broker
        if self._broker is None:
            self._broker = Mosquitto(self._programs.folder)
            self._broker.start()
            fakes = [
                sys.executable,
                str(SUPPORT / "mqtt_boards.py"),
                self._broker.address,
                _AT_BROKER,
            ]
            process = await start(command=fakes)
            line = await asyncio.wait_for(process.stdout.readline(), LIMIT_S)
            assert line == b"ready\n"

    async def _mpremote(self, words, shown):
        assert not shown
        words = self._with_addresses(words, needs_repl=True)
        done = await run(*words, command=[sys.executable, "-m", "mpremote"])
        assert done.status == 0, (words, done.out, done.err)

    def _with_addresses(self, words, needs_repl=False):
        addresses = dict(self._programs.addresses)
        if self._repl and (needs_repl or words[0] in _NEED_REPL):
            addresses[_SERIAL] = self._repl.port
        if words[0] != "boards":
            addresses.setdefault("tcp://192.0.2.7:8765", "sim")
        return [addresses.get(word, word) for word in words]


def _endless(words):
    """Tell whether a command goes on until Ctrl-C."""
    name, *options = words
    return (
        name in ("console", "serve", "watch")
        or (name == "top" and "--once" not in options)
        or (name == "events" and "--follow" in options)
        or (name == "record" and not {"--for", "--list"} & set(options))
        or (name == "alloc" and "--for" not in options)
    )


async def _run_a_while(words):
    """Run it until it has told something, then end it as a user does."""
    process = await start(*words)
    stream = process.stderr if words[0] == "serve" else process.stdout
    try:
        line = await asyncio.wait_for(stream.readline(), LIMIT_S)
    except asyncio.TimeoutError:
        raise AssertionError(f"it tells nothing: {words}") from None
    if not line:
        done = await finish(process)
        raise AssertionError((words, done.status, done.out, done.err))
    process.send_signal(signal.SIGINT)
    done = await finish(process)
    assert done.status == 130, (words, done.status, done.out, done.err)


def check_options(words, options):
    """The command exists, and takes the options that it is given here."""
    if words[0] == "--install-completion":
        assert words[0] in options[""]
        return
    rest = list(words)
    while rest and rest[0].startswith("-"):
        assert rest.pop(0) in options[""], words
    assert rest, words
    assert rest[0] in options, f"boardwarden has no command {rest[0]}: {words}"
    given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    unknown = given - options[rest[0]] - options[""]
    assert not unknown, f"boardwarden {rest[0]} has no {', '.join(sorted(unknown))}"


def check_pip(words):
    """What is installed is this project, with extras that it has."""
    assert words[0] == "install", words
    for wanted in words[1:]:
        name, _, extras = wanted.rstrip("]").partition("[")
        assert name in (".", "boardwarden"), words
        with (REPO / "pyproject.toml").open("rb") as file:
            known = tomllib.load(file)["project"]["optional-dependencies"]
        assert {extra for extra in extras.split(",") if extra} <= set(known), words


def check_make(words):
    """The target is in our Makefile; or it is a build of MicroPython, with files that exist."""
    if "-C" not in words:
        targets = [word for word in words if "=" not in word]
        assert _targets(REPO / "Makefile") >= set(targets), words
        return
    folder = Path(words[words.index("-C") + 1])
    rest = [word for word in words if word != "-C" and word != str(folder)]
    variables = dict(word.split("=", 1) for word in rest if "=" in word)
    paths = {name: Path(text.replace("$BW", str(REPO))) for name, text in variables.items()}
    manifest, modules = paths.get("FROZEN_MANIFEST"), paths.get("USER_C_MODULES")
    assert manifest is None or manifest.is_file(), words
    assert modules is None or modules.exists(), words
    for source in _SOURCES.glob("*/micropython-*"):  # there once a firmware was built; CI has it
        port = source / folder
        assert (port / "Makefile").is_file(), words
        cmake = (port / "CMakeLists.txt").exists()
        assert modules is None or modules.is_dir() != cmake, f"wrong for this port: {words}"
        known = _targets(port / "Makefile") | _targets(source / "py" / "mkrules.mk")
        assert known >= {word for word in rest if "=" not in word}, words
        board = variables.get("BOARD", "…")
        assert board == "…" or (port / "boards" / board).is_dir(), words
        build = "".join(
            file.read_text()
            for file in (port / "Makefile", source / "py" / "mkrules.mk", source / "py" / "py.mk")
        )
        unknown = [name for name in variables if name not in build]
        assert not unknown, f"MicroPython's build knows no {unknown}"


def _targets(makefile):
    """Return the names before the colons of a makefile."""
    lines = re.findall(r"^([\w .-]+):(?!=)", makefile.read_text(), re.MULTILINE)
    return {word for line in lines for word in line.split()}


def promtool():
    """Return Prometheus' own checker, or None where it is not installed."""
    return shutil.which("promtool")
