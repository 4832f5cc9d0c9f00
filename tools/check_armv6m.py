#!/usr/bin/env python3
"""Find machine code that is wrong once it is frozen for ARMv6-M: `check_armv6m.py FOLDER`.

MicroPython up to 1.29 puts a constant of more than 16 bits beside the code that loads it, relative
to the program counter, which works where the function is at a multiple of 4. In a `.mpy` it is;
mpy-tool.py freezes it at a multiple of 2, and half of the constants read wrong (RP2040, SAMD21,
STM32 F0, G0 and L0). A function's count of arguments is such a constant, so no viper function that
has any may be frozen there: `device/manifest.py` freezes the bytecode twins.

FOLDER has `.mpy` files that were compiled for armv6m, such as `frozen_mpy` of a firmware's build.
Exit status 1 if one of them has such constants, which are printed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

# `ldr rN, [pc, #0]`, and the branch over the constant, as asm_thumb_mov_reg_i32() writes them.
_LOAD = re.compile(rb"\x00[\x48-\x4f]\x01\xe0(....)", re.DOTALL)


def wide_constants(folder: Path) -> dict[str, list[int]]:
    """Return the constants that the machine code of each .mpy has beside itself, if it has any."""
    found = {}
    for file in sorted(folder.rglob("*.mpy")):
        if constants := _LOAD.findall(file.read_bytes()):
            name = file.relative_to(folder).as_posix()
            found[name] = [int.from_bytes(constant, "little") for constant in constants]
    return found


def main() -> int:
    found = wide_constants(Path(sys.argv[1]))
    for name, constants in found.items():
        print(f"{name}: {' '.join(map(hex, constants))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
