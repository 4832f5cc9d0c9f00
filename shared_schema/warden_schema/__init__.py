"""The one definition of everything that crosses the wire between a board and a host.

Runs unchanged on MicroPython and CPython. Import the modules, not this package:
`ids` names the messages, `codec` is the msgpack subset, `frame` the framing,
`trend` the line fit that both sides share.
"""
