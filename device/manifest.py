"""Freezes the agent and its schema into a firmware of any port, beside what the port ships.

    make BOARD=… FROZEN_MANIFEST=/path/to/boardwarden/device/manifest.py

`FROZEN_MANIFEST` replaces the board's own manifest, and a board without its `_boot.py` or
drivers is broken, so this one includes it: the board's if there is one (by convention it
includes the port's), else the port's. The qemu port has neither: only the agent is frozen, no
asyncio, which suits a board without `select`.

A board whose manifest has another name (esp8266: `manifest_2MiB.py`; samd: `mcu/…/manifest.py`),
or a firmware that must do without the port's: write a manifest that includes what you want, and
then `include("…/device/manifest.py", base=False)`.

What is frozen are the parts that host/boardwarden/deploy/parts joins the source files into; it
writes them to build/joined, where a traceback's file can be looked up.

The loops over bytes are frozen as machine code, where the port tells mpy-cross its machine
(`MPY_CROSS_FLAGS += -march=…`; unix, windows and nrf do not by themselves). Where the board has the
emitter off all the same, the build stops at `mp_fun_table`: leave them out, with `viper=False` as
with base, or with `MPY_CROSS_FLAGS=` on make's command line. For ARMv6-M (rp2 with an RP2040) what
is written in viper is always left out: MicroPython up to 1.29 aligns frozen machine code to 2
bytes, and that machine then reads wrong constants in it. What reads the heap is in assembler there,
and has no such constants.

Line numbers are not frozen, which are a twelfth of it: a traceback tells the agent's files and
functions. `lines=True` has them.
"""

import os
import re
import sys
from pathlib import Path

options.defaults(base=True, viper=True, lines=False)

# In the order of preference, each with whether the port is a desktop one.
_BASES = (
    ("$(BOARD_DIR)/manifest.py", False),
    ("$(PORT_DIR)/boards/manifest.py", False),
    ("$(PORT_DIR)/modules/manifest.py", False),  # nrf before 1.26
    ("$(PORT_DIR)/variants/standard/manifest.py", True),  # unix
    ("$(PORT_DIR)/variants/manifest.py", True),  # windows, webassembly
)


def _absent(error):
    """Whether include() failed because the manifest itself is not there.

    A manifest that is there and cannot be carried out (its micropython-lib is not checked out,
    say) must stop the build: going on would make a firmware that lacks what its board needs.
    """
    cause = error.__context__
    return isinstance(cause, FileNotFoundError) and str(cause.filename).endswith("manifest.py")


def _include_base():
    for path, desktop in _BASES:
        try:
            include(path)
        except Exception as error:
            if _absent(error):
                continue
            if not desktop:
                raise
            # A desktop port's own manifest adds conveniences only (mip, ssl), from a library that
            # Debian's source package leaves out. What the agent can use there is asyncio.
            print("without", path, "which needs micropython-lib; with asyncio")
            include("$(MPY_DIR)/extmod/asyncio")
        return


if options.base:
    _include_base()


def _machine():
    """The machine that mpy-cross is told to compile machine code for; "" if none is wanted.

    What it is told is among the arguments of MicroPython's makemanifest.py, and nowhere else that
    a manifest can see.
    """
    told = re.search(r"-march=(\w+)", " ".join(sys.argv))
    return told[1] if told and options.viper else ""


def _is_right(part, machine, joining):
    """Whether a part of machine code runs on a machine when it is frozen there."""
    if not machine or not joining.runs_on(part.file, machine):
        return False
    return machine != "armv6m" or "@micropython.viper" not in part.text


def _joining():
    """What joins source files: of the host's package, which need not be installed."""
    sys.path.insert(0, os.path.abspath("../host/boardwarden/deploy"))
    try:
        import parts
    finally:
        del sys.path[0]
    return parts


def _port():
    """The name of the port that is built, "" if makemanifest.py was not told."""
    told = [word for word in sys.argv if word.startswith("PORT_DIR=")]
    return told[0].rpartition("/")[2] if told else ""


def _freeze():
    joining = _joining()
    port = _port()
    folders = [".", "../shared_schema"]
    if port == "qemu":
        folders.append("mps2")  # that board has neither a clock nor a second serial port
    parts = joining.join(joining.read_rooms(*map(Path, folders)))
    if port not in ("unix", ""):
        del parts["warden/terminal.py"]  # of that port only
    for part in list(parts.values()):
        if part.machine_code:  # the board has it, or the same functions in bytecode
            right = _is_right(part, _machine(), joining)
            parts.pop(part.twin if right else part.file, None)
    joining.write(parts, Path("../build/joined"))
    files = [os.path.relpath(name, "warden") for name in sorted(parts)]
    package("warden", files=files, base_path="../build/joined", opt=0 if options.lines else 3)


_freeze()
