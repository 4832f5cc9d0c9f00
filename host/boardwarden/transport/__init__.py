"""Ways to a board: `transport_for(address)` picks one. Nothing is opened or loaded before that."""

from .choose import transport_for

__all__ = ["transport_for"]
