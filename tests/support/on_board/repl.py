"""A REPL for machines, in Python: the unix port of MicroPython 1.25 has only the one for people.

The raw REPL, paste mode, and Ctrl-D for a soft reset, which is the end of the program.
https://docs.micropython.org/en/latest/reference/repl.html
"""

import sys


def run():
    read = sys.stdin.buffer.read
    write = sys.stdout.buffer.write
    names = {"__name__": "__main__"}
    raw = collecting = False
    text = bytearray()
    write(b"\r\n>>> ")
    while True:
        try:
            byte = read(1)
            if not byte:
                return
            if byte == b"\x01":
                raw = collecting = True
                write(b"\r\nraw REPL; CTRL-B to exit\r\n>")
            elif byte == b"\x02":
                raw = collecting = False
                write(b"\r\nMicroPython\r\n>>> ")
            elif byte == b"\x03":
                text = bytearray()
            elif byte == b"\x05":
                if raw:
                    read(2)
                    write(b"R\x00")  # without flow control
                else:
                    collecting = True
                    write(b"\r\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\r\n=== ")
            elif byte != b"\x04":
                if collecting:
                    text.extend(byte)
                continue
            elif not text:
                return
            else:
                program, text = text, bytearray()
                execute(program, names, raw, write)
                collecting = raw
                program = None
        except KeyboardInterrupt:
            text = bytearray()


def execute(program, names, raw, write):
    error = None
    if raw:
        write(b"OK")
    try:
        exec(str(program, "utf-8"), names)
    except BaseException as caught:
        error = caught
    if raw:
        write(b"\x04")
    if error is not None:
        sys.print_exception(error)
    write(b"\x04>" if raw else b"\r\n>>> ")
