"""Reads the keys that `boardwarden key put` has stored on the board."""

from binascii import unhexlify

from micropython import const

_PATH = const("warden.keys")  # in the directory that the board starts in
_MAX_LINES = const(4)  # two generations of two rights


def stored_key(right):
    """Return the generations of the key of this right, "observe" or "control", newest first.

    An empty tuple where there are none, or the file cannot be read: then nobody proves one.
    """
    if right not in ("observe", "control"):
        raise ValueError(right)
    found = []
    try:
        with open(_PATH) as file:
            for _ in range(_MAX_LINES):
                words = file.readline().split()
                if len(words) == 2 and words[0] == right and len(found) < 2:
                    found.append(unhexlify(words[1]))
    except (OSError, ValueError):
        return ()
    return tuple(found)
