"""Policies: what a board is to do by itself, as files and on boards."""
