"""A MicroPython board's state, mirrored on the host: `async with boardwarden.connect("sim")`."""

import logging

from .arguments import LEARNED
from .board import Board, connect
from .errors import (
    AddressError,
    AtPrompt,
    BoardError,
    BoardRestarted,
    ConnectError,
    Denied,
    DeployError,
    LinkLost,
    NoAgent,
    NotFound,
    PermissionDenied,
    PolicyError,
    PoorLink,
    PortBusy,
    PortMissing,
    RequestError,
    RequestRefused,
    RequestTimeout,
    SimulatorMissing,
    VersionMismatch,
)
from .grants import (
    BoardSession,
    Event,
    Lease,
    Limits,
    MemoryNeed,
    Meter,
    Operation,
    Threshold,
)
from .history import Column, History, Sample
from .kinds import Action, Kept, Level, OperationState, Priority, ResourceType
from .models import (
    Capability,
    Cpu,
    Identity,
    LinkStatus,
    Memory,
    Network,
    Overhead,
    Status,
    Storage,
    Trend,
    Trends,
)
from .policy import Policy, SessionQuota
from .sync import SyncBoard, open
from .transport.base import Transport

# What happens to links is logged to "boardwarden"; whoever wants to see it adds a handler.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "LEARNED",
    "Action",
    "AddressError",
    "AtPrompt",
    "Board",
    "BoardError",
    "BoardRestarted",
    "BoardSession",
    "Capability",
    "Column",
    "ConnectError",
    "Cpu",
    "Denied",
    "DeployError",
    "Event",
    "History",
    "Identity",
    "Kept",
    "Lease",
    "Level",
    "Limits",
    "LinkLost",
    "LinkStatus",
    "Memory",
    "MemoryNeed",
    "Meter",
    "Network",
    "NoAgent",
    "NotFound",
    "Operation",
    "OperationState",
    "Overhead",
    "PermissionDenied",
    "Policy",
    "PolicyError",
    "PoorLink",
    "PortBusy",
    "PortMissing",
    "Priority",
    "RequestError",
    "RequestRefused",
    "RequestTimeout",
    "ResourceType",
    "Sample",
    "SessionQuota",
    "SimulatorMissing",
    "Status",
    "Storage",
    "SyncBoard",
    "Threshold",
    "Transport",
    "Trend",
    "Trends",
    "VersionMismatch",
    "connect",
    "open",
]
