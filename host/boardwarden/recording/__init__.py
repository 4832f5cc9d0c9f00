"""Recordings: what boards sent, in an SQLite file. docs/host.md says what is in one."""
