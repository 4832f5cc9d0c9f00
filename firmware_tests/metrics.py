"""The metrics of thresholds by their places, as a list of names."""

from warden.policy.thresholds import METRICS as _NAMES

METRICS = _NAMES.split()
