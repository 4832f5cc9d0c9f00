"""A policy file to begin with; docs/host.md shows the same."""

EXAMPLE = """\
# warden.toml
interval = "1 s"              # between samples, 20 ms to 10 min
budget = "1 %"                # of a core, for the agent

[limits]
max_operations = 2            # 1 to 8
operation_timeout = "5 min"   # of operations that name none
memory_reserve = "10 %"       # never granted, of the heap and of each mount
overrun = "5 s"               # until a task over its lease ends; 0: never

[[threshold]]
metric = "storage"            # or memory, cpu, loop_lag, …: docs/board.md has all
warn = "80 %"
critical = "95 %"
clear = "75 %"
hold = "30 s"                 # that a level must last
action = "protect"            # or tell, or reset

[session.upload]              # for warden.session("upload") on the board
memory = "16k"
storage = "64k"
operations = 2
ttl = "10 min"
"""
