"""Answers as a resource: kept, continued, read, cancelled, made short."""
