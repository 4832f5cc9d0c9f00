"""Examines a board and the link to it, without changing either."""
