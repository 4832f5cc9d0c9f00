"""Decisions: leases, operations, sessions, thresholds and pressure."""
