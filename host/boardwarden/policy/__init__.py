"""Policies: what a board does by itself, in files and on boards."""
