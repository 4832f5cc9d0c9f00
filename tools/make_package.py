#!/usr/bin/env python3
"""Write device/package.json, by which mip installs the agent's source: `make_package.py`.

The source files as they are, and not the parts that they are joined into: a board compiles a file
at a time, and one with little memory cannot compile a part. tools/build_mpy.py makes a package of
those, compiled.
https://docs.micropython.org/en/latest/reference/packages.html. The files' addresses are relative to
package.json, so that it works from wherever it is: a checkout, or a server that resolves `..`, as
web servers do. Where one does not, BASE is put before them: `--base github:you/boardwarden`.
`--check` only says whether the file is up to date.
"""

from __future__ import annotations

import argparse
import json
import posixpath
import sys
from collections.abc import Sequence
from pathlib import Path

from boardwarden.deploy.compiler import agent_version
from boardwarden.deploy.parts import room_files

REPO = Path(__file__).resolve().parent.parent
PLACE = REPO / "device" / "package.json"


def package(base: str = "") -> str:
    """Return the content of package.json, with a line for each file."""
    lines = []
    for name, file in room_files(REPO / "device", REPO / "shared_schema").items():
        path = file.resolve().relative_to(REPO).as_posix()
        address = f"{base.rstrip('/')}/{path}" if base else posixpath.relpath(path, "device")
        lines.append(f"    {json.dumps([name, address])}")
    urls = ",\n".join(lines)
    return f'{{\n  "version": {json.dumps(agent_version())},\n  "urls": [\n{urls}\n  ]\n}}\n'


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--base", default="", help="such as github:you/boardwarden")
    parser.add_argument("--check", action="store_true", help="say whether it is up to date")
    options = parser.parse_args(arguments)
    wanted = package(options.base)
    if options.check:
        current = PLACE.read_text(encoding="utf-8") if PLACE.exists() else ""
        if current != wanted:
            print("device/package.json is not up to date: python tools/make_package.py")
        return int(current != wanted)
    PLACE.write_text(wanted, encoding="utf-8")
    print(f"{PLACE.relative_to(REPO)}: {len(json.loads(wanted)['urls'])} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
