"""Run a program with its standard input as the controlling terminal: `on_terminal.py PROGRAM …`.

Its own process, because the code between fork and exec of a threaded program must not be Python's
(`preexec_fn` can deadlock). The caller starts it as a session leader, with nothing else to do.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import termios

if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup too, the hang-up ends the program
    # Until MicroPython has a handler: Ctrl-C as it starts would end it, and ends no board.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.argv[1], sys.argv[1:])
