"""What a host is told of thresholds, meters and what operations need."""

from micropython import const

from warden_schema import codec

from .policy_tables import Rows

_THRESHOLD = const(13)
_METER = const(14)
_NEED = const(15)


class ThresholdRows(Rows):
    """Thresholds."""

    def _put(self, uplink, buf, row, threshold):
        at = codec.put_int(buf, uplink.begin(_THRESHOLD, 9), row)
        at = codec.put_int(buf, at, threshold.metric)
        at = codec.put_int(buf, at, threshold.warn)
        at = codec.put_int(buf, at, threshold.critical)
        at = codec.put_int(buf, at, threshold.clear)
        at = codec.put_int(buf, at, threshold.hold_ms)
        at = codec.put_int(buf, at, threshold.action)
        at = codec.put_int(buf, at, threshold.level)
        return codec.put_int(buf, at, threshold.value)


class MeterRows(Rows):
    """Meters: when a host asks for them, with each sample, and never else."""

    def mark(self):
        """Have nothing sent: a subscription alone does not ask for them."""

    def tell(self):
        """Have those sent that there are."""
        super().mark()

    def _put(self, uplink, buf, row, meter):
        at = codec.put_int(buf, uplink.begin(_METER, 9), row)
        at = codec.put_int(buf, at, meter.id)
        at = codec.put_str(buf, at, meter.name)
        at = codec.put_int(buf, at, meter.kind)
        at = codec.put_int(buf, at, meter.priority)
        at = codec.put_int(buf, at, meter.cpu_permille)
        at = codec.put_int(buf, at, meter.worst_ms)
        at = codec.put_int(buf, at, meter.steps)
        return codec.put_int(buf, at, None if meter.lease is None else meter.lease.id)


class NeedRows(Rows):
    """What operations need, by name."""

    def _put(self, uplink, buf, row, need):
        at = codec.put_int(buf, uplink.begin(_NEED, 5), row)
        at = codec.put_str(buf, at, need.name)
        at = codec.put_int(buf, at, need.count)
        at = codec.put_int(buf, at, need.typical)
        return codec.put_int(buf, at, need.worst)
