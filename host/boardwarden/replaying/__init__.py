"""A policy run over a recording, by the board's own code."""
