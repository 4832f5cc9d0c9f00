"""Recordings: what boards told, kept in an SQLite file. docs/host.md says what is in one."""
