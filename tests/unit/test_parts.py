"""What the agent's source files are joined into for a board, and what keeps them from it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from places import REPO

from boardwarden.deploy import parts
from boardwarden.deploy.compiler import rooms as real_rooms
from boardwarden.deploy.parts import joining

# The smallest agent that has one of everything.
AGENT = {
    "warden": '"""Public names."""\nfrom warden.api import start, stop\n',
    "warden.api": """
        from warden.clock import Clock
        from warden.link.wire import Stream

        def start():
            from warden.policy.policy import Policy

            return Policy(Clock(), Stream())

        def stop():
            from warden.requests import answer
            return answer()
        """,
    "warden.clock": """
        import sys

        from micropython import const

        _TURN = const(1 << 30)
        LATE = const(5)

        class Clock:
            def turn(self):
                return _TURN if sys else 0
        """,
    "warden.link": '"""Links."""\n',
    "warden.link.wire": """
        import sys
        from micropython import const
        from warden_schema.loops import crc16
        from warden.clock import LATE

        _TURN = const(0x40000000)

        class Stream:
            crc = crc16
            late = LATE
        """,
    "warden.requests": "from warden.clock import Clock\n\ndef answer():\n    return Clock\n",
    "warden.policy": "",
    "warden.policy.policy": """
        from warden.clock import Clock, LATE
        from warden.policy.leases import Leases

        class Policy:
            def __init__(self, *given):
                self.given = given, Clock, LATE, Leases
        """,
    "warden.policy.leases": """
        from warden.clock import (
            Clock,
        )

        class Leases(Clock):
            x = 1
        """,
    "warden_schema": "",
    "warden_schema.loops": """
        try:
            from warden_schema.loops_viper import crc16
        except (ImportError, ValueError):
            from warden_schema.loops_plain import crc16
        """,
    "warden_schema.loops_viper": """
        import micropython

        @micropython.viper
        def crc16(data: ptr8) -> int:
            return 1
        """,
    "warden_schema.loops_plain": "def crc16(data):\n    return 1\n",
}


def joined(**changes: str) -> dict[str, parts.Part]:
    rooms = {name: dedent(text) for name, text in AGENT.items()}
    rooms.update({name.replace("__", "."): dedent(text) for name, text in changes.items()})
    return parts.join(rooms)


def refused(**changes: str) -> list[str]:
    with pytest.raises(parts.JoinError) as error:
        joined(**changes)
    return str(error.value).splitlines()


def imports(part: parts.Part) -> list[str]:
    nodes = ast.walk(ast.parse(part.text))
    return [ast.unparse(n) for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]


def test_each_module_is_in_one_part_after_those_that_it_imports() -> None:
    made = joined()
    assert {name: part.rooms for name, part in made.items()} == {
        "warden/__init__.py": (
            *("warden.clock", "warden_schema.loops", "warden.link.wire", "warden.api"),
            "warden",
        ),
        "warden/decide.py": ("warden.policy.leases", "warden.policy.policy"),
        "warden/requests.py": ("warden.requests",),
        "warden/loops_viper.py": ("warden_schema.loops_viper",),
        "warden/loops_plain.py": ("warden_schema.loops_plain",),
    }
    assert [part.twin for part in made.values() if part.machine_code] == ["warden/loops_plain.py"]


def test_imports_inside_a_part_are_removed_and_others_name_the_part() -> None:
    made = joined()
    assert imports(made["warden/decide.py"]) == [
        "from warden import Clock",
        "from warden import LATE",
    ]
    assert sorted(imports(made["warden/__init__.py"])) == [
        "from warden.decide import Policy",
        "from warden.loops_plain import crc16",
        "from warden.loops_viper import crc16",
        "from warden.requests import answer",
        "import sys",
    ]
    assert "# --- warden/link/wire.py\n" in made["warden/__init__.py"].text


def test_a_constant_repeated_with_the_same_value_is_joined_once() -> None:
    assert joined()["warden/__init__.py"].text.count("_TURN = const(") == 1


def test_the_joined_file_runs(tmp_path: Path) -> None:
    made = joined(warden_schema__loops_viper="raise ImportError\ncrc16 = 0\n")
    parts.write(made, tmp_path)
    program = (
        "import builtins\n"
        "builtins.const = int\n"  # mpy-cross needs no import for it
        "import warden\n"
        "clock, stream = warden.start().given[0]\n"
        "print(clock.turn(), stream.crc(), stream.late, warden.stop().__name__, warden.LATE)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "1073741824 1 5 Clock 5\n", done.stderr


def test_classes_are_without_the_names_that_nothing_reads() -> None:
    """Behind the docstring, and before the first method, which takes their place."""
    clock = 'class Clock:\n    """Time.\n    """\n    x = 1\n\nLATE = const(5)\n'
    made = joined(warden__clock=f"from micropython import const\n{clock}")
    (found,) = (
        node
        for node in ast.parse(made["warden/__init__.py"].text).body
        if isinstance(node, ast.ClassDef) and node.name == "Clock"
    )
    assert [ast.unparse(line) for line in found.body[1:]] == [
        "del __module__, __qualname__",
        "x = 1",
    ]


def test_only_changed_parts_are_written(tmp_path: Path) -> None:
    files = parts.write(joined(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in files.values()}
    parts.write(joined(warden__requests="def answer():\n    return 2\n"), tmp_path)
    changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == ["requests.py"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"warden__clock": "import warden.link\nclass Clock: pass\nLATE = 1\n"},
            "warden/clock.py:1: `import warden.link` cannot be joined: write `from ROOM import "
            "NAME`",
        ),
        (
            {"warden__requests": "from warden import clock\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden import clock`: name the room, as in "
            "`from warden.ROOM import`",
        ),
        (
            {"warden__requests": "from warden.clock import Clock as C\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden.clock import Clock as C`: `as` and `*` cannot be "
            "joined",
        ),
        (
            {"warden__requests": "from .clock import Clock\ndef answer(): pass\n"},
            "warden/requests.py:1: a relative import cannot be joined",
        ),
        (
            {"warden__requests": "x = 1; from warden.clock import Clock\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden.clock import Clock`: an import must have its lines "
            "to itself",
        ),
        (
            {"warden__requests": "from warden.clock import Watch\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden.clock import Watch`: warden/clock.py has no "
            "`Watch`",
        ),
        (
            {"warden__requests": "from warden.clock import _TURN\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden.clock import _TURN`: `_TURN` is a private const "
            "(warden/clock.py:6), which has no value outside its file",
        ),
        (
            {"warden__requests": "from warden.hall import Clock\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden.hall import Clock`: there is no such room",
        ),
        (
            {"warden__requests": "from warden_schema.ids import A\ndef answer(): pass\n"},
            "warden/requests.py:1: `from warden_schema.ids import A`: that is the host's",
        ),
        (
            {"warden__link__wire": "class Stream:\n    def x(self):\n"
                "        from warden.clock import Clock\n"},
            "warden/link/wire.py:3: `from warden.clock import Clock`: it is in the same part, so "
            "import it at the top of the file",
        ),
        (
            {"warden__attic": "def old(): pass\n"},
            "warden/attic.py: nobody imports this room",
        ),
        (
            {"warden__words": "LOW = 1\n", "warden__requests": "from warden.words import LOW\n"
                "def answer(): pass\n"},
            "warden/words.py: only warden.requests imports it, so it belongs there",
        ),
        (
            {"warden__policy__attic": "def old(): pass\n"},
            "warden/policy/attic.py: nobody imports this room",
        ),
        (
            {"warden__clock": "from warden.link.wire import Stream\nclass Clock: pass\n"
                "LATE = 1\n"},
            "rooms import each other in a circle: warden/clock.py:1 imports warden.link.wire, "
            "warden/link/wire.py:5 imports warden.clock",
        ),
        (
            {"warden__clock": "from warden.policy.policy import Policy\nclass Clock: pass\n"
                "LATE = 1\n"},
            "parts import each other in a circle: warden/clock.py:1: `from warden.policy.policy "
            "import Policy`; warden/policy/policy.py:2: `from warden.clock import Clock, LATE`",
        ),
        (
            {"warden__link__wire": "from warden.clock import LATE\n\nclass Clock: pass\n\n"
                "class Stream: pass\n"},
            "warden/link/wire.py:3: `Clock` is another one in warden/clock.py:9, and both are "
            "joined into warden",
        ),
        (
            {"warden__link__wire": "from micropython import const\n"
                "from warden.clock import LATE\n_TURN = const(7)\nclass Stream: pass\n"},
            "warden/link/wire.py:3: `_TURN` is another one in warden/clock.py:6, and both are "
            "joined into warden",
        ),
        (
            {"warden__link__wire": "from warden.clock import LATE\n_n = 0\ndef Stream():\n"
                "    global sys\n    sys = LATE\n"},
            "warden/link/wire.py:4: `sys` is another one in warden/clock.py:2, and both are "
            "joined into warden",
        ),
        (
            {"warden__link__wire": "def Stream(): pass\ndef open(): pass\n",
             "warden__clock": "LATE = open\nclass Clock: pass\n"},
            "warden/link/wire.py:2: `open` hides the builtin that warden/clock.py:1 uses",
        ),
        (
            {"warden__link__wire": "class Stream: pass\nrequests = None\n"},
            "warden/link/wire.py:2: `warden.requests` would become the module warden.requests "
            "when that is imported",
        ),
        (
            {"warden__clock": "import micropython\nLATE = 1\nclass Clock: pass\n"
                "@micropython.viper\ndef fast(): pass\n"},
            "warden/clock.py: machine code takes its whole file along where it cannot be compiled: "
            "put it into a file named …_viper.py",
        ),
        (
            {"warden__link": "X = 1\n"},
            "warden/link/__init__.py:1: a board does not get this file: leave it empty",
        ),
    ],
)  # fmt: skip
def test_modules_that_cannot_be_joined_raise_with_the_reason(
    changes: dict[str, str], said: str
) -> None:
    assert said in refused(**changes)


def test_a_module_for_one_machine_may_be_missing() -> None:
    clock = "def Clock():\n    from warden.board_mps2 import Mps2\n    return Mps2\nLATE = 1\n"
    made = joined(warden__clock=clock)
    assert "warden/board_mps2.py" not in made
    assert "from warden.board_mps2 import Mps2" in made["warden/__init__.py"].text
    made = joined(warden__clock=clock, warden__board_mps2="Mps2 = 1\n")
    assert "warden/board_mps2.py" in made


def test_the_same_guarded_import_may_be_in_two_modules() -> None:
    found = "try:\n    import network\nexcept ImportError:\n    network = None\n"
    rest = "class Clock: pass\nLATE = 1\n"
    stream = (
        "from warden.clock import LATE\nfrom warden_schema.loops import crc16\nclass Stream: pass"
    )
    made = joined(warden__clock=found + rest, warden__link__wire=found + stream)
    assert made["warden/__init__.py"].text.count("import network") == 1
    other = found.replace("None", "0") + stream
    said = refused(warden__clock=found + rest, warden__link__wire=other)
    assert said[0].startswith("warden/link/wire.py:2: `network` is another one in warden/clock.py")


def test_the_whole_agent_can_be_joined() -> None:
    made = parts.join(real_rooms())
    assert {"warden/__init__.py", "warden/decide.py", "warden/requests.py"} <= set(made)
    rooms = made["warden/__init__.py"].rooms
    assert {"warden.agent", "warden.api", "warden"} <= set(rooms)
    assert len(made) <= 53


def test_the_package_has_room_for_the_names_of_what_is_loaded_later() -> None:
    text = (REPO / "device/warden/launch.py").read_text(encoding="utf-8")
    room = re.search(r"^_LATER = const\((\d+)\)", text, re.MULTILINE)
    at_start = {"__init__", "setup", "policy_setup", "decide", "lease_handle"}
    at_start |= {"lock", "wlan", "system_heap", "terminal", "stand_in"}
    at_start |= {"mqtt_setup", "mqtt", "mqtt_as"}  # of what start() is given,
    at_start |= {"keyed_hosts", "keyed_mqtt"}  # and of what that is given
    later = {Path(file).stem for file, part in parts.join(real_rooms()).items()
             if not part.machine_code and not file.endswith("_plain.py")} - at_start  # fmt: skip
    let_go = {"last_boot", "policy_file", "public", "extras", "crash_report", "watchdog_setup"}
    let_go |= {"duties_setup", "stop_setup"}  # two at once
    assert room is not None
    assert len(later - let_go) + 2 + 1 == int(room[1]), later  # and `run`, once it is used


def test_the_joiner_runs_without_the_host_package(tmp_path: Path) -> None:
    """A firmware's manifest imports it by its path, with whatever Python makes the firmware."""
    folder = REPO / "host" / "boardwarden" / "deploy"
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); import parts; "
        "print(parts.part_of('warden.clock'), 'boardwarden' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == "warden False\n", done.stderr


def test_the_most_frequent_names_come_first() -> None:
    few = "def a(b):\n    return c(b)\n"
    assert joining.line_for(ast.parse(few)) == ""
    many = few + "".join(f"x.y{number}\n" for number in range(200))
    often = many + "def a(self, b):\n    global g\n    n = g = c(z=b) + _N + b.m(b.m) + n\n" * 3
    line = joining.line_for(ast.parse(often))
    first, *names = line.splitlines()[1].split(".")
    assert first == "__name__ or __name__"
    assert len(names) == len(set(names)) == 118
    assert {"a", "b", "c", "m", "g", "z", "self"} <= set(names[:8])
    assert not {"n", "_N"} & set(names)
    exec(line, {"__name__": "m"})
