"""The modules of a board that only measures, with a host that listens: what "the core" is.

Prints `= NAME 0 0` for each.
"""

import sys

import warden

warden.start()
for _ in range(3):
    warden.poll()
for _name in sorted(sys.modules):
    if _name.split(".")[0] in ("warden", "warden_schema"):
        print("=", _name, 0, 0)
