"""What the frozen modules take of the flash, read from the firmware's ELF file.

Counted are the symbols that MicroPython's mpy-tool makes of a module: its code (`fun_data_…`), its
tables (`children_…`, `proto_fun_…`, `const_qstr_…`, `const_obj_…`, `raw_code_…`) and its entry;
and the pool of the strings that were not in the firmware without them: their hashes, lengths, table
and, which have no symbol, the strings themselves. This firmware freezes nothing else.
"""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

from firmware_errors import BuildError

_NM = "arm-none-eabi-nm"
_MODULE = "frozen_module_"
_LENGTHS = "mp_qstr_frozen_const_lengths"
_POOL = ("mp_qstr_frozen_const_", "mp_frozen_")
# What mpy-tool puts before a module's name.
_KINDS = re.compile(
    r"^(fun_data|children|proto_fun|const_qstr_table_data|const_qstr_table|const_obj_table_data|"
    r"const_obj|const_table_data|raw_code|frozen_module|bytecode_data|bigint_digits|const)_"
)


def sizes(firmware: Path, core: set[str]) -> dict[str, float]:
    """Bytes by part, of all and of the modules named in `core` (dotted names)."""
    symbols = _symbols(firmware)
    modules = [name.removeprefix(_MODULE) for name in symbols if name.startswith(_MODULE)]
    longest_first = sorted(modules, key=len, reverse=True)
    taken = dict.fromkeys(modules, 0)
    names = 0
    for symbol, (address, size) in symbols.items():
        if symbol.startswith(_POOL):
            names += size
            if symbol == _LENGTHS:  # a byte each; a string ends with a NUL
                lengths = _contents(firmware.read_bytes(), address, size)
                names += sum(lengths) + len(lengths)
            continue
        rest = _KINDS.sub("", symbol)
        if rest == symbol:
            continue
        for module in longest_first:
            if rest == module or rest.startswith((module + "_", module + ".")):
                taken[module] += size
                break
    kept = {_underscored(name) for name in core}
    in_core = sum(size for name, size in taken.items() if name in kept)
    whole = sum(taken.values())
    figures: dict[str, float] = {f"flash_part_{name}_bytes": taken[name] for name in modules}
    figures["flash_names_bytes"] = names
    figures["flash_everything_bytes"] = whole + names
    # The names' share of the core is not known: as large as its share of the rest.
    figures["flash_core_bytes"] = in_core + (names * in_core // whole if whole else 0)
    return figures


def _underscored(dotted: str) -> str:
    package = dotted in ("warden", "warden_schema")
    return dotted.replace(".", "_") + ("___init__" if package else "")


def _symbols(firmware: Path) -> dict[str, tuple[int, int]]:
    """Address and size by name; symbols of one name differ in nothing that is asked here."""
    program = shutil.which(_NM)
    if program is None:
        raise BuildError(f"{_NM} is missing: apt-get install binutils-arm-none-eabi")
    done = subprocess.run(
        [program, "--print-size", str(firmware)], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[3]: (int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 4}


def _contents(elf: bytes, address: int, size: int) -> bytes:
    """What a 32-bit ELF file loads at an address (System V ABI, "Program Header")."""
    (table,) = struct.unpack_from("<I", elf, 28)
    entry_size, entries = struct.unpack_from("<HH", elf, 42)
    for entry in range(entries):
        kind, offset, at, _, in_file = struct.unpack_from("<5I", elf, table + entry * entry_size)
        if kind == 1 and at <= address and address + size <= at + in_file:
            return elf[offset + address - at :][:size]
    raise BuildError("the firmware's ELF file does not load its strings' lengths")
