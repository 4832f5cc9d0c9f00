"""Freezes nothing: the heap that the agent takes from files is counted on such a firmware."""
