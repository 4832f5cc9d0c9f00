"""What deploy finds on a board before it does anything, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from boardwarden.errors import DeployError
from boardwarden.render.text import count, size

from . import choosing, romfs, starting
from .board import BoardFiles, Found
from .choosing import (
    BYTECODE,
    DECIDING,
    FILES,
    FROZEN,
    ROMFS,
    STATES,
    WATCHING,
    Option,
    Plan,
    as_bytecode,
    footprints,
    with_run,
)
from .compiler import Compiler
from .installing import Contents, Installation, Manifest, compiled, listed_too
from .romfs import Partition, RomFiles, UnknownImage
from .user import Interrupts, Reporter

ANY = "any"  # the architecture of bytecode


class Situation:
    """A board as it is: its heap, its ROMFS, the agent's files that are there already.

    frozen: the firmware's own agent comes before any that would be copied. changing: an interrupted
    exchange of files is finished; else nothing on the board is changed. made: what has been
    compiled, by architecture; more is put there.
    """

    def __init__(
        self,
        files: BoardFiles,
        compiler: Compiler,
        frozen: bool,
        changing: bool,
        reporter: Reporter,
        stop: Interrupts,
        made: dict[str, dict[str, bytes]],
    ) -> None:
        self._files = files
        self._compiler = compiler
        self._reporter = reporter
        self._stop = stop
        self._compiled = made
        self.frozen = frozen
        self.heap = choosing.heap(files.repl)
        if files.about.loaded:  # the pool has the agent's names already, for as long as it is on
            self.heap = replace(self.heap, names=None)
        self.started = starting.start_line(files)
        self.work = Installation(files, reporter, stop)
        self.there: Found = self.work.completed() if changing else files.inspect()
        self.listed: Manifest = self.work.listed(self.there)
        self.partition = None if frozen else romfs.partition(files.repl)
        self.rom, self.unusable = rom_files(files, self.partition, reporter, stop)
        self._architecture = ANY if frozen else self._machine_code()
        if not frozen:
            self._check_what_is_there()

    def _check_what_is_there(self) -> None:
        self.work.refuse_another(self.there, self.listed)
        other = self._files.shadow(in_rom=self.rom is not None)
        if other:
            raise DeployError(
                f"{other} on the board would be imported instead of what deploy puts into "
                f"{self._files.about.lib}: remove it first"
            )
        if self.rom is not None and not self.unusable:
            try:
                self.rom.planned(self.wanted(ROMFS))
            except UnknownImage as error:
                self.unusable = str(error)

    def _machine_code(self) -> str:
        """Return what to compile for: machine code must have the board's very sub-version."""
        about = self._files.about
        theirs, ours = about.format, self._compiler.format()
        if about.architecture != ANY and theirs != ours:
            self._reporter.say(
                f"This firmware loads machine code of .mpy {theirs[0]}.{theirs[1]} and mpy-cross "
                f"writes {ours[0]}.{ours[1]}: bytecode only."
            )
            return ANY
        return about.architecture

    # --- what to install ------------------------------------------------------------------------

    def architecture_of(self, way: str) -> str:
        """Return what the files of a way are compiled for."""
        return ANY if way == BYTECODE else self._architecture

    def wanted(self, way: str) -> Contents:
        """Return what a way puts on the board, compiled once: contents by name below lib."""
        architecture = self.architecture_of(way)
        if architecture not in self._compiled:
            made = compiled(self._compiler, architecture, self._reporter, self._stop)
            self._compiled[architecture] = made
        if way == ROMFS:
            assert self.rom is not None
            new = self.rom.listed.made_lib or not self.rom.image
        else:
            new = self.listed.made_lib or not self.there.has_lib
        return listed_too(self._compiled[architecture], architecture, new)

    def copies(self, way: str) -> dict[str, int]:
        """Return the sizes of what would be copied to the board: files, or an image."""
        wanted = self.wanted(way)
        if way == ROMFS:
            assert self.rom is not None
            image = self.rom.planned(wanted)
            return {} if image == self.rom.image else {"image": len(image)}
        change = self.work.compare(self.there, wanted, self.listed)
        return {name: len(wanted[name]) for name in change.copy}

    # --- the choice -----------------------------------------------------------------------------

    @property
    def installed(self) -> str | None:
        """The way in which the agent is on the board already; None if it is not."""
        if self.frozen:
            return FROZEN
        if self.listed.files:
            machine_code = any(name.endswith("_viper.mpy") for name in self.listed.files)
            return FILES if machine_code else BYTECODE
        return ROMFS if self.rom is not None and self.rom.has_agent else None

    def _ways(self, only: str) -> list[str]:
        if self.frozen:
            return [FROZEN]
        usable = self.rom is not None and not self.unusable
        if self.rom is not None and self.rom.has_others_in_package:
            if only not in ("", ROMFS) or not usable:
                raise DeployError(
                    "/rom/lib/warden on the board, which has other files, would be imported "
                    f"instead of what deploy puts into {self._files.about.lib}"
                )
            only = ROMFS
        if only == ROMFS and not usable:
            raise DeployError(
                f"The ROMFS partition cannot be used: {self.unusable}"
                if self.unusable
                else "This board's firmware has no ROMFS partition"
            )
        return choosing.ways(self._architecture != ANY, usable, self.installed, only)

    def plan(self, only: str, force: bool, start: str = "") -> Plan:
        """Return what there is to choose from, and what is best.

        only: the only way to consider, "" for all; force: have a choice even where none fits;
        start: the file that is to start the agent, "" for none.
        """
        figures, heap = footprints(), self.heap
        if self.started is None:
            runs = starting.runs(self._files, start, False)
        else:
            runs = self.started.runs
        if runs:
            figures = with_run(figures)
        if self._architecture == ANY:
            figures = as_bytecode(figures)
        started = None
        if self.started is not None:
            started = WATCHING if self.started.watching else DECIDING
        options = choosing.in_order(self._ways(only), choosing.states(started), heap, figures)
        frozen = {
            state: choosing.option(FROZEN, state, heap, figures).takes_bytes for state in STATES
        }
        found = Plan(
            machine=self._files.about.machine,
            firmware=self._files.about.firmware,
            architecture=self._files.about.architecture,
            heap_total_bytes=heap.total_bytes,
            heap_free_bytes=heap.free_bytes,
            heap_largest_free_block_bytes=heap.largest_free_block_bytes,
            disk_free_bytes=self.there.free_bytes,
            romfs_bytes=None if self.partition is None else self.partition.size_bytes,
            romfs_image_bytes=None if self.partition is None else self.partition.image_bytes,
            romfs_unusable=self.unusable or None,
            installed=self.installed,
            options=options,
            frozen={state: taken for state, taken in frozen.items() if taken is not None},
        )
        return self._chosen(found, only, force)

    def _chosen(self, found: Plan, only: str, force: bool) -> Plan:
        fit = choosing.fitting(found.options)
        if not fit:
            best = choosing.smallest(found.options)
            by = self.started.name if self.started is not None else None
            found = replace(
                found, refused=choosing.refusal(best, self.heap, found.frozen.get(best.state), by)
            )
            fit = [best] if force else []
        if not fit:
            return found
        return replace(found, choice=fit[0], questions=tuple(self.questions(fit[0], found, only)))

    def candidates(self, found: Plan) -> list[Option]:
        """Return what the user may agree to, best first."""
        fit = choosing.fitting(found.options)
        return fit or ([] if found.choice is None else [found.choice])

    def questions(self, chosen: Option, found: Plan, only: str) -> Iterator[str]:
        """Yield what the user has to agree to before an option is carried out."""
        if chosen.way == ROMFS and ROMFS not in (self.installed, only):
            assert self.rom is not None
            others = self.rom.others
            beside = f", beside {count(others, 'file')} that stay" if others else ""
            less = ""
            files = [each for each in found.options if each.way != ROMFS]
            if chosen.takes_bytes is not None and files:
                taken = next(each for each in files if each.state == chosen.state).takes_bytes
                less = (
                    f" There it takes {size(chosen.takes_bytes)} of heap, as files {size(taken)}."
                )
            yield f"Write the agent into the board's ROMFS partition{beside}?{less}"
        if chosen.state == WATCHING and self.started is None:
            deciding = [each for each in found.options if each.state == DECIDING]
            least = choosing.smallest(deciding).takes_bytes
            yield (
                f"To decide, too, it would take {size(least)}, which is too much. Have it watch "
                "only?"
            )


def rom_files(
    files: BoardFiles, partition: Partition | None, reporter: Reporter, stop: Interrupts
) -> tuple[RomFiles | None, str]:
    """Return the files in a board's ROMFS, and why it cannot be changed; None and "" for none."""
    if partition is None:
        return None, ""
    try:
        return RomFiles(files, partition, reporter, stop), ""
    except UnknownImage as error:
        return None, str(error)
