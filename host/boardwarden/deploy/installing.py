"""Bringing files on a board to what they are here: the agent's, and the keys; taking them away."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boardwarden._protocol.keys import Secret
from boardwarden.errors import DeployError
from boardwarden.keys import BOARD_FILE, board_file

from .board import BoardFiles, DiskFull, Found
from .compiler import Compiler, agent_version, parts, rooms
from .parts import PACKAGES
from .programs import MANIFEST, OLD, WORK
from .repl import Repl
from .user import Interrupts, Reporter

NAME = f"warden/{MANIFEST}"
_MADE_LIB = "# made lib"
_UNIQUE_ID = """\
try:
 import machine
 return machine.unique_id()
except (ImportError, AttributeError):
 return b''
"""
Contents = Mapping[str, bytes]  # of files, by name below lib


@dataclass(frozen=True)
class Manifest:
    """`files`: SHA-256 in hexadecimal by name below lib; `made_lib`: lib was not there before."""

    files: Mapping[str, str] = field(default_factory=dict)
    made_lib: bool = False

    def text(self, version: str, architecture: str) -> bytes:
        """Return the file's content."""
        lines = [f"# put here by boardwarden {version}, for {architecture}"]
        lines += [_MADE_LIB] if self.made_lib else []
        lines += [f"{digest} {name}" for name, digest in sorted(self.files.items())]
        return "".join(f"{line}\n" for line in lines).encode()


def parse_manifest(text: bytes | None) -> Manifest:
    """Return the manifest in a file, without names outside the agent's packages."""
    lines = (text or b"").decode(errors="replace").splitlines()
    files = {}
    for line in lines:
        digest, _, name = line.partition(" ")
        package, _, rest = name.partition("/")
        if package in PACKAGES and rest and "/" not in rest and rest != "..":
            files[name] = digest
    return Manifest(files, _MADE_LIB in lines)


_ENDINGS = ("py", "mpy")
# What distinguishes the agent from any other package of its name: as deploy puts it there, and as
# mip does, which installs the source files.
_MARKS = {
    "warden": (("__init__", "decide", "requests"), ("agent", "api", "clock")),
    "warden_schema": (("codec", "frame", "loops"),),
}


@dataclass(frozen=True)
class Change:
    """What to do: names to copy, names already staged, names that stay."""

    copy: tuple[str, ...]
    staged: tuple[str, ...]
    keep: tuple[str, ...]
    obsolete: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.copy or self.staged or self.obsolete)


def compiled(
    compiler: Compiler, architecture: str, reporter: Reporter, stop: Interrupts
) -> dict[str, bytes]:
    """Compile the agent for a board; return the files' contents by name below lib."""
    files = parts()
    with tempfile.TemporaryDirectory(prefix="boardwarden-") as folder, stop.at_once():
        made = compiler.compile_all(
            *(files, Path(folder), architecture),
            lambda count: reporter.step("compiling", count, len(files)),
        )
        contents = {name: file.read_bytes() for name, file in made.items()}
    reporter.step("compiling", len(files), len(files))
    return contents


def listed_too(contents: Contents, architecture: str, made_lib: bool) -> Contents:
    """Return the files that were compiled, with the list of them that goes to the board, too."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    listed = Manifest(digests, made_lib).text(agent_version(), architecture)
    return {NAME: listed, **contents}


class AgentsFiles:
    """Recognises files of the agent, of any version, among others in its folders."""

    def __init__(self) -> None:
        files = {room.replace(".", "/") for room in rooms()}
        self._folders = {file.rpartition("/")[0] for file in files} - {"", *PACKAGES}
        self._stems = files | {name.removesuffix(".py") for name in parts()}
        self._stems |= {f"{package}/__init__" for package in PACKAGES}

    def has(self, name: str, listed: Manifest) -> bool:
        """Return whether a file, or a folder, is the agent's."""
        stem, _, ending = name.rpartition(".")
        known = name in self._folders or (stem in self._stems and ending in _ENDINGS)
        return known or name in listed.files or name == NAME


def refuse_another(place: str, names: Iterable[str], agents: AgentsFiles, listed: Manifest) -> None:
    """Raise DeployError where a package of the agent's name, below a place, is not the agent."""
    there = list(names)
    for package, marks in _MARKS.items():
        inside = [name for name in there if name.startswith(package + "/")]
        ours = [name for name in inside if agents.has(name, listed)]
        stems = {name.rpartition(".")[0].rpartition("/")[2] for name in ours}
        if ours and not listed.files and not any(stems.issuperset(some) for some in marks):
            raise DeployError(f"{place}/{package} on the board is another package of that name")


class Installation:
    """The agent's files on one board."""

    def __init__(self, files: BoardFiles, reporter: Reporter, stop: Interrupts) -> None:
        self._files = files
        self._reporter = reporter
        self._stop = stop
        self._lib = files.about.lib
        self._agents = AgentsFiles()

    # --- what is there --------------------------------------------------------------------------

    def completed(self) -> Found:
        """Finish an interrupted exchange, then return what is on the board."""
        found = self._files.inspect()
        if found.switching:
            self._files.finish_switch()
            self._reporter.say("Finished what an interrupted deploy had begun.")
            return self._files.inspect()
        return found

    def listed(self, found: Found) -> Manifest:
        """Return the manifest on the board, wherever an interruption left it; empty if none."""
        work = (f"{self._lib}/{WORK}/new/", f"{self._lib}/{OLD}") if found.working else ()
        for place in (f"{self._lib}/", *work):
            text = self._files.read(f"{place}{NAME}")
            if text is not None:
                return parse_manifest(text)
        return Manifest()

    def refuse_another(self, found: Found, listed: Manifest) -> None:
        """Raise DeployError where a package of the agent's name is not the agent."""
        refuse_another(self._lib, found.installed, self._agents, listed)

    # --- putting it there -----------------------------------------------------------------------

    def compare(self, found: Found, wanted: Contents, listed: Manifest) -> Change:
        """Find out what has to be copied."""
        there = self._equal(found.installed, wanted, self._lib)
        rest = {name: size for name, size in found.staged.items() if name not in there}
        staged = self._equal(rest, wanted, f"{self._lib}/{WORK}/new")
        others = [name for name in found.installed if name not in wanted]
        obsolete = tuple(name for name in others if self._agents.has(name, listed))
        return Change(
            copy=tuple(n for n in wanted if n not in there and n not in staged),
            staged=staged,
            keep=(*there, *(name for name in others if name not in obsolete)),
            obsolete=obsolete,
        )

    def _equal(self, names: Mapping[str, int], wanted: Contents, folder: str) -> tuple[str, ...]:
        """Return the names of the files in a folder that are as wanted."""
        same = [n for n, size in names.items() if len(wanted.get(n, b"")) == size and size]
        others = self._differing("comparing", same, wanted, folder)
        return tuple(name for name in same if name not in others)

    def apply(self, change: Change, found: Found, wanted: Contents) -> int:
        """Copy what has to be copied, check it, and switch; return how many bytes were copied."""
        total = sum(len(wanted[name]) for name in change.copy)
        self._check_room(total, found)
        self._files.make_work()
        new = f"{self._lib}/{WORK}/new"
        stale = [name for name in found.staged if name not in (*change.staged, *change.copy)]
        if stale:
            self._files.remove(f"{new}/{name}" for name in stale)
        self._copy(change.copy, wanted, new)
        bad = self._differing("checking", change.copy, wanted, new)
        if bad:
            self._copy(bad, wanted, new)
            if self._differing("checking", bad, wanted, new):
                raise DeployError("What is copied to the board arrives damaged: check the line")
        self._stop.check()
        self._files.switch(change.keep)
        return total

    def _copy(self, names: tuple[str, ...], wanted: Contents, folder: str) -> None:
        copied, total = 0, sum(len(wanted[name]) for name in names)
        for name in names:
            data = wanted[name]

            def advance(count: int, before: int = copied) -> None:
                self._reporter.step("copying", before + count, total)
                self._stop.check()

            self._files.write(f"{folder}/{name}", data, advance)
            copied += len(data)

    def _differing(
        self, step: str, names: Sequence[str], wanted: Contents, folder: str
    ) -> tuple[str, ...]:
        """Return the names of the files in a folder that are not as wanted."""

        def advance(count: int) -> None:
            self._reporter.step(step, count, len(names))
            self._stop.check()

        digests = self._files.hashes(folder, names, advance)
        return tuple(
            name for name in names if digests[name] != hashlib.sha256(wanted[name]).digest()
        )

    def _check_room(self, total: int, found: Found) -> None:
        free = found.free_bytes
        if free is not None and free < total:
            raise DiskFull(
                f"The board's disk is full: the agent takes {total // 1024} KB more and "
                f"{free // 1024} KB are free"
            )

    # --- taking it away -------------------------------------------------------------------------

    def take_away(self, found: Found, listed: Manifest) -> int:
        """Remove the agent's files, and nothing else; return how many there were."""
        ours = [name for name in found.installed if self._agents.has(name, listed)]
        self._files.drop_work()
        if ours:
            self._files.make_work()
            self._files.switch(name for name in found.installed if name not in ours)
        folders = [f"{self._lib}/{package}" for package in PACKAGES]
        if listed.made_lib or not found.has_lib:
            folders.append(self._lib)
        self._files.remove_empty(folders)
        return len(ours)


# --- a board's keys -------------------------------------------------------------------------------


def put_keys(address: str, secret: Secret) -> bytes:
    """Write what is derived of a secret to a board, and start its program; return its unique id.

    Keys of a right that the secret is not good for stay. Raises DeployError, LinkLost or a
    ConnectError.
    """
    with Interrupts(), Repl(address) as repl:
        files, unique_id, before = _read_keys(repl)
        wanted = board_file(secret, unique_id, before)
        if wanted != before:
            path = f"{files.about.root}/{BOARD_FILE}"
            files.write(f"{path}.new", wanted)
            if files.read(f"{path}.new") != wanted:
                raise DeployError(f"{BOARD_FILE} arrived damaged: nothing was changed.")
            files.rename(f"{path}.new", path)
        files.restart()
    return unique_id


def has_keys(address: str, secret: Secret) -> tuple[bool, bytes]:
    """Return whether a board has all keys of a secret, and its unique id; start its program."""
    with Interrupts(), Repl(address) as repl:
        files, unique_id, before = _read_keys(repl)
        files.restart()
    lines = board_file(secret, unique_id).splitlines()
    return set(lines) <= set(before.splitlines()), unique_id


def _read_keys(repl: Repl) -> tuple[BoardFiles, bytes, bytes]:
    files = BoardFiles(repl)
    files.probe()
    unique_id: bytes = repl.call(_UNIQUE_ID)
    return files, unique_id, files.read(f"{files.about.root}/{BOARD_FILE}") or b""
