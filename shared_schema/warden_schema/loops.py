"""The loops over bytes and figures, as fast as this interpreter has them.

Chosen once, at the first import; `VIPER` tells which. A board runs the machine code that it was
given: frozen, `fast.mpy` of its architecture, or `fast.py` where it can compile it.
"""

import sys

try:
    if sys.implementation.name != "micropython":
        raise ImportError
    from warden_schema.fast import (
        acknowledge,
        advance,
        alive,
        begin_operation,
        begin_row,
        complete,
        crc16,
        crossed,
        enter,
        find_taken,
        forecast,
        free_row,
        heap,
        hear,
        keep,
        left_ms,
        load,
        look,
        mark,
        note,
        over,
        pack_message,
        pack_row,
        pump_rows,
        put_off,
        read_event,
        read_memory,
        read_on,
        release,
        renew,
        sample,
        seal,
        send,
        start,
        take,
        take_back,
        take_out,
        taken,
        tell,
        tell_sample,
        turn,
        wake,
    )

    VIPER = True
except (ImportError, ValueError, SyntaxError):  # not there, of another machine, no emitter
    from warden_schema.plain import (
        acknowledge,
        advance,
        alive,
        begin_operation,
        begin_row,
        complete,
        crc16,
        crossed,
        enter,
        find_taken,
        forecast,
        free_row,
        heap,
        hear,
        keep,
        left_ms,
        load,
        look,
        mark,
        note,
        over,
        pack_message,
        pack_row,
        pump_rows,
        put_off,
        read_event,
        read_memory,
        read_on,
        release,
        renew,
        sample,
        seal,
        send,
        start,
        take,
        take_back,
        take_out,
        taken,
        tell,
        tell_sample,
        turn,
        wake,
    )

    VIPER = False
