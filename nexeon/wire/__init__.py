"""Bytes, SSE, JSON and YAML; knows no format."""
