"""warden: the agent on the board. It measures, decides, sends, and needs nobody for it."""

from warden.api import (
    __getattr__,
    poll,
    start,
    start_monitoring,
    status,
    stop,
    stop_monitoring,
)
from warden.board import VERSION
