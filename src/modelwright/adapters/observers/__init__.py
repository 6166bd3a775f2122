"""Where request events go: an access log in JSON lines, an OpenTelemetry collector."""
