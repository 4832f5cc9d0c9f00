"""What people do today, on the same board: the specification's query, executed from its text.

Counted is what the board does with a text once it is there: compile it, run it, print. Reading it
over the line, breaking into the application and starting that again comes on top. SHORT_QUERY is
put in front by the bench.
"""

from meter import measure

# docs of the specification: QueryDeviceMemoryAsync, with print for its return
WHOLE = """
import gc
import micropython

gc.collect()
free_mem = gc.mem_free()
allocated_mem = gc.mem_alloc()
total_mem = free_mem + allocated_mem
largest_free = 0
try:
    micropython.mem_info(1)
    largest_free = free_mem
except:
    largest_free = free_mem

print({
    'total': total_mem,
    'used': allocated_mem,
    'available': free_mem,
    'largest_free': largest_free
})
"""

measure("repl_query", lambda: exec(SHORT_QUERY))  # noqa: F821
measure("repl_query_as_specified", lambda: exec(WHOLE))
measure("repl_nothing", lambda: exec("pass"))
