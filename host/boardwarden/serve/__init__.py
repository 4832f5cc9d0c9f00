"""Hands what mirrors hold to Prometheus and OpenTelemetry: `boardwarden serve`."""
