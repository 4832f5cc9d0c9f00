"""Run by MicroPython's unix port: reads or writes files of a board that is off, for tests."""

import binascii
import json
import os
import sys

kind, path, blocks, what = sys.argv[1:]
sys.path.insert(0, __file__.rsplit("/", 1)[0])
import boot

boot.mount(kind, path, int(blocks), 0)


def tell(folder, found):
    for entry in os.ilistdir("/flash" + folder):
        name = folder + "/" + entry[0]
        if entry[1] & 0x4000:
            found[name[1:]] = None
            tell(name, found)
        else:
            with open("/flash" + name, "rb") as file:
                found[name[1:]] = binascii.hexlify(file.read()).decode()
    return found


if what == "tell":
    print(json.dumps(tell("", {})))
else:
    name, data = json.loads(sys.stdin.read())
    place = "/flash"
    for part in name.split("/")[:-1]:
        place += "/" + part
        try:
            os.mkdir(place)
        except OSError:
            pass
    with open("/flash/" + name, "wb") as file:
        file.write(binascii.unhexlify(data))
