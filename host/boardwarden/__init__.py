"""A MicroPython board's state, mirrored on the host: `async with boardwarden.connect("sim")`.

Each name is imported at its first use, so that the command line can prepare for Ctrl-C before it
imports anything slow.
"""

TYPE_CHECKING = False  # as type checkers know it; importing `typing` would be slow already
if TYPE_CHECKING:
    from ._conversion import (
        LEARNED as LEARNED,
    )
    from .board import (
        Board as Board,
        connect as connect,
    )
    from .crashes import (
        CaughtException as CaughtException,
        Frame as Frame,
        Reset as Reset,
        Restart as Restart,
    )
    from .errors import (
        AddressError as AddressError,
        AtPrompt as AtPrompt,
        BoardError as BoardError,
        BoardOffline as BoardOffline,
        BoardRestarted as BoardRestarted,
        ConnectError as ConnectError,
        Denied as Denied,
        DeployError as DeployError,
        KeyFileError as KeyFileError,
        KeyRefused as KeyRefused,
        LinkLost as LinkLost,
        NoAgent as NoAgent,
        NoPlace as NoPlace,
        NotFound as NotFound,
        PermissionDenied as PermissionDenied,
        PolicyError as PolicyError,
        PoorLink as PoorLink,
        PortBusy as PortBusy,
        PortMissing as PortMissing,
        RequestError as RequestError,
        RequestRefused as RequestRefused,
        RequestTimeout as RequestTimeout,
        SimulatorMissing as SimulatorMissing,
        VersionMismatch as VersionMismatch,
    )
    from .grants import (
        BoardSession as BoardSession,
        Event as Event,
        Lease as Lease,
        Limits as Limits,
        MemoryProfile as MemoryProfile,
        Meter as Meter,
        Operation as Operation,
        Threshold as Threshold,
    )
    from .history import (
        Column as Column,
        Gap as Gap,
        History as History,
        HistorySlot as HistorySlot,
        Sample as Sample,
        Statistics as Statistics,
    )
    from .models import (
        Action as Action,
        AgentWrites as AgentWrites,
        Capability as Capability,
        Cpu as Cpu,
        Identity as Identity,
        StoredPolicy as StoredPolicy,
        Level as Level,
        LinkStatus as LinkStatus,
        Memory as Memory,
        Network as Network,
        OperationState as OperationState,
        Overhead as Overhead,
        Priority as Priority,
        ResourceType as ResourceType,
        Status as Status,
        Storage as Storage,
        SystemHeap as SystemHeap,
        Trend as Trend,
        Trends as Trends,
    )
    from .policy import (
        Policy as Policy,
        SessionQuota as SessionQuota,
    )
    from .sync import (
        SyncBoard as SyncBoard,
        open as open,
    )
    from .transport.base import (
        Transport as Transport,
    )
else:

    def __getattr__(name):
        """Import a name's module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
        return value

    def __dir__():
        """Return the names that there are, also those not imported yet."""
        return sorted({*globals(), *_MODULES})


_NAMES = {
    "_conversion": "LEARNED",
    "board": "Board connect",
    "crashes": "CaughtException Frame Reset Restart",
    "errors": (
        "AddressError AtPrompt BoardError BoardOffline BoardRestarted ConnectError Denied "
        "DeployError KeyFileError KeyRefused LinkLost NoAgent NoPlace NotFound PermissionDenied "
        "PolicyError PoorLink PortBusy PortMissing RequestError RequestRefused RequestTimeout "
        "SimulatorMissing VersionMismatch"
    ),
    "grants": "BoardSession Event Lease Limits MemoryProfile Meter Operation Threshold",
    "history": "Column Gap History HistorySlot Sample Statistics",
    "models": (
        "Action AgentWrites Capability Cpu Identity Level LinkStatus Memory Network "
        "OperationState Overhead Priority ResourceType Status Storage StoredPolicy SystemHeap "
        "Trend Trends"
    ),
    "policy": "Policy SessionQuota",
    "sync": "SyncBoard open",
    "transport.base": "Transport",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_MODULES)  # noqa: PLE0605
