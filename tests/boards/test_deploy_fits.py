"""What deploy says of a board's heap is what is then taken, on real boards of 32 bits.

A board of 64 KB to 2 MB is the unix port built for 32 bits. A ROMFS partition of it is in its heap,
as there is no other memory, so a heap is larger by that.
"""

import re
import shutil
from pathlib import Path

import pytest
from built_firmware import built
from repl_board import ReplBoard

from boardwarden.deploy import compiler, deploying
from boardwarden.deploy.deploying import Wishes
from boardwarden.errors import DeployError

pytestmark = pytest.mark.timeout(240)
ROM_BYTES = 128 * 1024
TOLERANCE = 0.1
KB = 1024

# Counts before the agent is imported, and after it has started; all on one line.
MEASURE = b"""\
import gc
def used():
    for _ in range(3):
        gc.collect()
    return gc.mem_alloc()
before, free = used(), gc.mem_free()
try:
    import warden
    warden.start(GIVEN)
    print("measured", used() - before, free, gc.mem_free(), "end")
except MemoryError:
    print("measured", -1, free, 0, "end")
"""


class Yes:
    """Answers with yes; keeps what is said and asked."""

    def __init__(self, answer=True):
        self.said = []
        self.asked = []
        self.answer = answer

    def say(self, text):
        self.said.append(text)

    def step(self, name, done, total):
        assert done >= 0

    def confirm(self, question):
        self.asked.append(question)
        return self.answer


@pytest.fixture(scope="module")
def program():
    return built("unix32")


@pytest.fixture(scope="module", autouse=True)
def once():
    """Have the agent compiled once; no hello is awaited."""
    made = {}
    compile_all = compiler.Compiler.compile_all

    def cached(self, files, folder, architecture, done=lambda count: None):
        if architecture not in made:
            found = compile_all(self, files, folder, architecture, done)
            made[architecture] = {name: file.read_bytes() for name, file in found.items()}
        for name, data in made[architecture].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return {name: folder / name for name in made[architecture]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler.Compiler, "compile_all", cached)
        patch.setattr(deploying, "await_hello", lambda address, reporter: None)
        yield


@pytest.fixture(scope="module")
def boards(program, tmp_path_factory):
    """Returns a function that makes a board; like: with the files that another one has."""

    def make(heap_bytes, rom=False, like=None):
        folder = tmp_path_factory.mktemp("board")
        if like is not None:
            for file in Path(like.folder).glob("*.img"):
                shutil.copy(file, folder)
        rom_bytes = ROM_BYTES if rom else 0
        heap = str(heap_bytes + rom_bytes)
        return ReplBoard(folder, program=program, heap=heap, rom_bytes=rom_bytes, own_repl=True)

    return make


@pytest.fixture(scope="module")
def deployed(boards):
    """Return a board that the agent was really deployed to, by whether into its ROMFS."""
    found = {}
    for rom in (False, True):
        found[rom] = boards(512 * KB, rom)
        with found[rom] as board:
            talk = Yes()
            done = deploying.deploy(board.port, "", talk)
            assert done.choice.way == ("romfs" if rom else "bytecode")
            assert bool(talk.asked) is rom
    return found


def measured(board, state):
    """Return what the agent takes there, None if it does not fit; free bytes before and after."""
    given = b"protect=False" if state == "watching" else b""
    board.put({"main.py": MEASURE.replace(b"GIVEN", given)})
    with board:
        board.wait_for(b" end")
    taken, before, after = map(
        int, re.search(rb"measured (\S+) (\d+) (\d+)", board.printed).groups()
    )
    return None if taken < 0 else taken, before, after


SWEEP = [(heap, False) for heap in (64, 80, 96, 128, 512, 2048)]
SWEEP += [(heap, True) for heap in (48, 64, 128, 2048)]


@pytest.mark.parametrize(
    ("heap_kb", "rom"),
    SWEEP,
    ids=[f"{heap} KB, {'romfs' if rom else 'files'}" for heap, rom in SWEEP],
)
def test_the_plan_is_what_is_then_taken(boards, deployed, heap_kb, rom):
    """And what is refused leaves less than a third, or does not even start."""
    heap = heap_kb * KB
    board = boards(heap, rom)
    before = board.files()
    with board:
        forced = plan = deploying.plan(board.port, Yes())
        if plan.choice is None:
            forced = deploying.plan(board.port, Yes(), Wishes(force=True))
    assert board.files() == before
    chosen = forced.choice
    assert chosen.way == ("romfs" if rom else "bytecode")
    taken, free, left = measured(boards(heap, rom, like=deployed[rom]), chosen.state)
    if plan.choice is None:
        assert "less than a third" in plan.refused or "does not fit" in plan.refused
        assert taken is None or left * 3 < free
    else:
        assert left * 3 >= free
    if taken is not None:
        assert abs(chosen.takes_bytes - taken) <= TOLERANCE * taken
    if chosen.state == "watching":  # then deciding would not have fitted
        taken, free, left = measured(boards(heap, rom, like=deployed[rom]), "deciding")
        assert taken is None or left * 3 < free


def test_a_board_that_is_too_small_gets_nothing(boards):
    with boards(64 * KB) as board:
        talk = Yes()
        with pytest.raises(DeployError, match=r"even if it only watches.*third; frozen .* takes"):
            deploying.deploy(board.port, "main.py", talk)
        assert not talk.asked
    assert not board.files()


def test_one_that_would_have_to_watch_only_gets_nothing_when_the_user_says_no(boards):
    with boards(96 * KB) as board:
        talk = Yes(answer=False)
        with pytest.raises(DeployError, match=r"nothing was done. The board is as it was\."):
            deploying.deploy(board.port, "main.py", talk)
        assert len(talk.asked) == 1
        assert "watch only" in talk.asked[0]
    assert not board.files()


def test_watching_only_is_in_the_start_line_and_taken_out_with_it(boards):
    app = b"print('application')\n"
    made = boards(96 * KB)
    made.put({"main.py": app})
    with made as board:
        deploying.deploy(board.port, "main.py", Yes())
        board.wait_for(b"application", times=3)  # before, and after the last soft reset
        assert b"warden.start(protect=False)" in board.files()["main.py"]
        again = deploying.plan(board.port, Yes())
        assert {option.state for option in again.options} == {"watching"}
        assert again.installed == "bytecode"
        assert again.copies_files == 0
        deploying.remove(board.port, Yes())
    assert {name: data for name, data in made.files().items() if data is not None} == {
        "main.py": app
    }


def test_one_that_boot_py_starts_is_planned_as_if_it_was_not(boards):
    """Its names are in the pool already, which does not grow again."""
    made = boards(256 * KB)
    with made as board:
        deploying.deploy(board.port, "boot.py", Yes())
        plan = deploying.plan(board.port, Yes())
    assert plan.choice.state == "deciding"
    assert plan.choice.fits
    taken, _, _ = measured(boards(256 * KB, like=clean(made)), "deciding")
    assert abs(plan.choice.takes_bytes - taken) <= TOLERANCE * taken


def clean(board):
    """Return a board whose boot.py starts nothing any more."""
    board.put({"boot.py": b""})
    return board


def test_a_start_line_that_decides_is_the_users_to_change(boards):
    made = boards(96 * KB)
    made.put({"main.py": b"import warden\nwarden.start()\n"})
    with made as board, pytest.raises(DeployError, match=r"protect=False\)` in main\.py"):
        deploying.deploy(board.port, "", Yes())
