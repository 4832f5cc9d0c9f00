"""Exports boards' states to Prometheus and OpenTelemetry: `boardwarden serve`."""
