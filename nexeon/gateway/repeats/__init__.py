"""Requests that come again under the same idempotency key."""
