#!/usr/bin/env python3
"""Build MicroPython with the agent frozen in: `build_firmware.py TARGET [--source DIR]`.

unix, qemu: the unix port, and the Cortex-M3 firmware for QEMU's mps2-an385. unix-native,
qemu-native: the same with the C module `_warden` of device/native. unix-probe, qemu-probe: for the
tests of that module, with a module of theirs beside it; the unix one's heap is in four areas, and
Ctrl-C comes there as on a board.
qemu-bytecode: without machine code from viper. qemu-asyncio: with time, select and asyncio, for
tools/bench. qemu-m0: for the Cortex-M0 of QEMU's microbit.
unix32: the unix port built for 32 bits, and qemu-bare the Cortex-M3, both without the agent, and
unix32-frozen: where tools/footprint.py counts what the agent takes of the heap.

The last line of standard output is the path of what was built. Progress goes to standard error.
Results are cached under build/ by what went into them; a source tree given with --source is only
read.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import debian_source
import firmware_cache as cache
from check_armv6m import wide_constants
from firmware_errors import BuildError, need, run_logged, say

REPO = Path(__file__).resolve().parent.parent
ROOT = REPO / "build" / "firmware"


def _check_arm_compiler() -> None:
    """Debian has the bare-metal compiler and its C headers in two packages."""
    compiler = need("arm-none-eabi-gcc", "gcc-arm-none-eabi libnewlib-arm-none-eabi")
    command = [compiler, "-E", "-x", "c", "-o", os.devnull, "-"]
    headers = subprocess.run(
        command, input=b"#include <string.h>\n", capture_output=True, check=False
    )
    if headers.returncode != 0:
        raise BuildError(
            "arm-none-eabi-gcc has no C library: apt-get install libnewlib-arm-none-eabi"
        )


def _check_32_bits() -> None:
    """On a 64-bit machine gcc makes 32-bit programs only with the libraries of another package."""
    command = [need("gcc", "gcc libc6-dev"), "-m32", "-x", "c", "-o", os.devnull, "-"]
    linked = subprocess.run(
        command, input=b"int main(void) { return 0; }\n", capture_output=True, check=False
    )
    if linked.returncode != 0:
        raise BuildError("gcc makes no 32-bit programs here: apt-get install gcc-multilib")


@dataclass(frozen=True)
class Target:
    port: str
    artefact: str
    variables: tuple[str, ...]
    check: Callable[[], None] = lambda: None
    modules: tuple[str, ...] = ()  # folders of this repository with C modules
    manifest: str = "device/manifest.py"

    def compiled(self) -> tuple[str, ...]:
        """What the objects of the C files depend on, beside the source: not on what is frozen."""
        variables = (v for v in self.variables if not v.startswith("MPY_CROSS_FLAGS="))
        return (self.port, *variables, *self.modules)


# Viper code can be frozen only for a machine that mpy-cross emits code for.
_UNIX_ARCH = ("MPY_CROSS_FLAGS=-march=x64",) if platform.machine() == "x86_64" else ()
_NATIVE = ("device/native",)
_PROBE = (*_NATIVE, "firmware_tests/native_probe")
_VARIANT = REPO / "firmware_tests" / "native_probe" / "variant"  # Ctrl-C as on a board
_SPLIT_HEAP = "CFLAGS_EXTRA=-DMICROPY_GC_SPLIT_HEAP=1 -DMICROPY_GC_SPLIT_HEAP_N_HEAPS=4"
TARGETS = {
    "unix": Target(
        port="unix",
        artefact="micropython",
        # Without the parts whose libraries Debian's source package leaves out.
        variables=(
            "VARIANT=standard",
            "MICROPY_PY_BTREE=0",
            "MICROPY_PY_FFI=0",
            "MICROPY_PY_SSL=0",
            "MICROPY_SSL_MBEDTLS=0",
            *_UNIX_ARCH,
        ),
    ),
    "qemu": Target(
        port="qemu",
        artefact="firmware.elf",
        variables=("BOARD=MPS2_AN385",),
        check=_check_arm_compiler,
    ),
}
for _port in ("unix", "qemu"):
    TARGETS[f"{_port}-native"] = replace(TARGETS[_port], modules=_NATIVE)
    TARGETS[f"{_port}-probe"] = replace(TARGETS[_port], modules=_PROBE)
TARGETS["unix-probe"] = replace(
    TARGETS["unix-probe"],
    variables=(f"VARIANT_DIR={_VARIANT}", *TARGETS["unix"].variables[1:], _SPLIT_HEAP),
)
# 32 bits, as a board: what the agent takes of the heap is counted there. Without the agent, which
# is loaded from files, or with it, in bytecode, for machine code would be that of a PC.
_32_BITS = (*TARGETS["unix"].variables[: -len(_UNIX_ARCH) or None], "MICROPY_FORCE_32BIT=1")
TARGETS["unix32"] = replace(
    TARGETS["unix"],
    variables=_32_BITS,
    check=_check_32_bits,
    manifest="tools/manifests/asyncio.py",
)
TARGETS["unix32-frozen"] = replace(TARGETS["unix32"], manifest="device/manifest.py")
# The Cortex-M0 of QEMU's microbit, with 256 KB of RAM, for machine code of ARMv6-M.
_ARMV6M = "MPY_CROSS_FLAGS=-march=armv6m"
_EMITTER = (
    "CFLAGS_EXTRA=-DMICROPY_EMIT_THUMB=1 -DMICROPY_EMIT_THUMB_ARMV7M=0"
    " -DMICROPY_EMIT_INLINE_THUMB=1"
)
TARGETS["qemu-m0"] = replace(TARGETS["qemu"], variables=("BOARD=MICROBIT", _ARMV6M, _EMITTER))
# With asyncio, and what it needs of a board: what its steps and tasks cost is counted there.
TARGETS["qemu-asyncio"] = replace(
    TARGETS["qemu"],
    modules=("tools/bench/asyncio_board",),
    manifest="tools/manifests/agent_asyncio.py",
)
TARGETS["qemu-bare"] = replace(TARGETS["qemu"], manifest="tools/manifests/nothing.py")
# As on a port that does not tell mpy-cross its machine.
TARGETS["qemu-bytecode"] = replace(
    TARGETS["qemu"], variables=(*TARGETS["qemu"].variables, "MPY_CROSS_FLAGS=")
)


def _check_source(source: Path, port: str) -> None:
    for name in ("py/mpconfig.h", "mpy-cross/Makefile", f"ports/{port}/Makefile"):
        if not (source / name).is_file():
            raise BuildError(f"{source} is not a MicroPython source tree: it has no {name}")


def source_version(source: Path) -> str:
    """Such as `1.25.0`, from the macros that MicroPython itself is versioned by."""
    text = (source / "py" / "mpconfig.h").read_text(errors="replace")
    parts = re.findall(r"define MICROPY_VERSION_(?:MAJOR|MINOR|MICRO) (\d+)", text)
    return ".".join(parts) or "unknown"


def _environment() -> dict[str, str]:
    """A user's make settings must not change what the key stands for, nor Python write a cache
    into the source tree."""
    env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", LC_ALL="C")
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "BUILD", "BOARD", "VARIANT", "CROSS_COMPILE"):
        env.pop(name, None)
    return env


def _check_tools(target: Target, source: Path | None) -> None:
    need("make", "make")
    need("gcc", "gcc libc6-dev")
    if source is None or (source / "debian").is_dir():
        need("dpkg-parsechangelog", "dpkg-dev")
    target.check()


def _make(what: str, folder: Path, variables: Sequence[str], log: str) -> None:
    command = ["make", f"-j{os.cpu_count() or 1}", "-C", str(folder), f"PYTHON={sys.executable}"]
    run_logged(what, [*command, *variables], ROOT / "logs" / log, env=_environment())


def _mpy_cross(source: Path, source_key: str) -> Path:
    place = ROOT / "mpy-cross" / source_key
    if not (place / "mpy-cross").exists():
        say("building mpy-cross")
        with cache.work_folder(ROOT, "mpy-cross", source_key) as work:
            build = [f"BUILD={work / 'objects'}"]
            _make("building mpy-cross", source / "mpy-cross", build, "mpy-cross.log")
            cache.keep(work / "objects" / "mpy-cross", place)
        cache.prune(ROOT / "mpy-cross", "*")
    return place / "mpy-cross"


def _check_frozen(folder: Path) -> None:
    """Machine code with wide constants would be frozen at places where it reads wrong ones."""
    wrong = wide_constants(folder)
    if wrong:
        raise BuildError(f"machine code that is wrong when frozen for armv6m: {', '.join(wrong)}")


def results(name: str) -> str:
    """A pattern of the folders that hold what was built for `name`, and for no other target."""
    return f"{name}-{'[0-9a-f]' * 12}"


def _gather_modules(target: Target, work: Path) -> Path:
    """MicroPython's build takes one folder of C modules: put those of all of `target`'s into it."""
    gathered = work / "modules"
    files = {
        path.relative_to(work / "tree" / folder).as_posix(): path.read_bytes()
        for folder in target.modules
        for path in sorted((work / "tree" / folder).rglob("*"))
        if path.is_file()
    }
    cache.mirror(files, gathered)
    return gathered


def build(name: str, source: Path | None = None) -> Path:
    """The path of the firmware `name` (a key of TARGETS), built if the cache has none."""
    target = TARGETS[name]
    if source is not None:
        source = source.expanduser().resolve()
        _check_source(source, target.port)
    with cache.lock(ROOT):
        if source is None:
            if debian_source.downloaded(ROOT / "source") is None:
                _check_tools(target, None)  # before a download that would be for nothing
            source = debian_source.download(ROOT / "source")
        source_key = cache.tree_key(source)
        files = cache.frozen_files(REPO, target.manifest, *target.modules)
        flags = (source_key, *target.variables, *target.modules)
        place = ROOT / f"{name}-{cache.contents_key(files, *flags)}"
        done = place / target.artefact
        if done.exists():
            os.utime(place)
            return done

        _check_tools(target, source)
        started = time.monotonic()
        cross = _mpy_cross(source, source_key)
        say(f"building MicroPython {source_version(source)} for {name}")
        # Targets that differ in what is frozen only share their objects.
        objects = f"{target.port}-{cache.contents_key({}, *target.compiled())}"
        with cache.work_folder(ROOT, objects, source_key) as work:
            cache.mirror(files, work / "tree")
            # MicroPython's build sees a changed file, but not that one has gone.
            (work / "objects" / "frozen_content.c").unlink(missing_ok=True)
            # Nor that the manifest wants the same file compiled in another way.
            shutil.rmtree(work / "objects" / "frozen_mpy", ignore_errors=True)
            variables = [
                *target.variables,
                f"BUILD={work / 'objects'}",
                f"FROZEN_MANIFEST={work / 'tree' / target.manifest}",
                f"MICROPY_MPYCROSS={cross}",
            ]
            if target.modules:
                variables.append(f"USER_C_MODULES={_gather_modules(target, work)}")
            _make(f"building the {name} firmware", source / "ports" / target.port, variables,
                  f"{name}.log")  # fmt: skip
            if _ARMV6M in target.variables:
                _check_frozen(work / "objects" / "frozen_mpy")
            cache.keep(work / "objects" / target.artefact, place)
        cache.prune(ROOT, results(name))
        say(f"built in {time.monotonic() - started:.0f} s")
        return done


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--source", type=Path, metavar="DIR", help="a MicroPython source tree")
    options = parser.parse_args(arguments)
    try:
        print(build(options.target, options.source))
    except BuildError as error:
        say(f"build_firmware: {error}")
        return 2
    except KeyboardInterrupt:
        say("build_firmware: interrupted; the next run starts this build again")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
