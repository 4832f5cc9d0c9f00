"""What a host is told of thresholds, meters and what operations need."""

from micropython import const

from warden.policy_tables import Rows
from warden_schema import codec
from warden_schema.loops import pack_row as _pack_row

_THRESHOLD = const(13)
_METER = const(14)
_NEED = const(15)


class ThresholdRows(Rows):
    """Thresholds."""

    def _put(self, uplink, buf, row, threshold):
        t = threshold
        figures = (row, t.metric, t.warn, t.critical, t.clear, t.hold_ms, t.action)
        at = _pack_row(buf, uplink.begin(_THRESHOLD, 9), figures, 7)
        return _pack_row(buf, at, (t.level, t.value), 2)


class MeterRows(Rows):
    """Meters: when a host asks for them, with each sample, and never else."""

    def mark(self):
        """Have nothing sent: a subscription alone does not ask for them."""

    def tell(self):
        """Have those sent that there are."""
        super().mark()

    def _put(self, uplink, buf, row, meter):
        at = _pack_row(buf, uplink.begin(_METER, 9), (row, meter.id), 2)
        at = codec.put_str(buf, at, meter.name)
        at = _pack_row(buf, at, (meter.kind, meter.priority, meter.cpu_permille), 3)
        lease = None if meter.lease is None else meter.lease.id
        return _pack_row(buf, at, (meter.worst_ms, meter.steps, lease), 3)


class NeedRows(Rows):
    """What operations need, by name."""

    def _put(self, uplink, buf, row, need):
        at = codec.put_int(buf, uplink.begin(_NEED, 5), row)
        at = codec.put_str(buf, at, need.name)
        return _pack_row(buf, at, (need.count, need.typical, need.worst), 3)
