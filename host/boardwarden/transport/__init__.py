"""Transports to a board: `transport_for(address)` picks one, and imports only that."""

from .base import transport_for

__all__ = ["transport_for"]
