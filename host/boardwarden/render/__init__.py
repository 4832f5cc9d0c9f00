"""Formats values and tables for the command line, the live view and the demo."""
