"""OpenTelemetry: names, spans, metrics, and the exporter that redacts for everyone else."""
