"""What a host is told of thresholds, meters and what operations need."""

from micropython import const

from warden.policy_tables import Rows, id_of
from warden_schema.loops import pack_message as _pack_message

_THRESHOLD = const(13)
_METER = const(14)
_NEED = const(15)
# Which of their fields are texts, a bit for each.
_METER_TEXTS = const(0b100)
_NEED_TEXTS = const(0b10)


class ThresholdRows(Rows):
    """Thresholds."""

    width = 9

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        threshold = self.owner.table[row]
        if threshold is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = threshold.metric
        fields[2] = threshold.warn
        fields[3] = threshold.critical
        fields[4] = threshold.clear
        fields[5] = threshold.hold_ms
        fields[6] = threshold.action
        fields[7] = threshold.level
        fields[8] = threshold.value
        return _pack_message(uplink, _THRESHOLD, fields, 0)


class MeterRows(Rows):
    """Meters: when a host asks for them, with each sample, and never else."""

    def mark(self):
        """Have nothing sent: a subscription alone does not ask for them."""

    def tell(self):
        """Have those sent that there are."""
        super().mark()

    width = 9

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        meter = self.owner.table[row]
        if meter is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = meter.id
        fields[2] = meter.name
        fields[3] = meter.kind
        fields[4] = meter.priority
        fields[5] = meter.cpu_permille
        fields[6] = meter.worst_ms
        fields[7] = meter.steps
        fields[8] = id_of(meter.lease)
        return _pack_message(uplink, _METER, fields, _METER_TEXTS)


class NeedRows(Rows):
    """What operations need, by name."""

    width = 5

    def encode(self, row, uplink):
        """Put a row's message into the uplink; return its length, 0 for a row that is free."""
        need = self.owner.table[row]
        if need is None:
            return 0
        fields = self.fields
        fields[0] = row
        fields[1] = need.name
        fields[2] = need.count
        fields[3] = need.typical
        fields[4] = need.worst
        return _pack_message(uplink, _NEED, fields, _NEED_TEXTS)
