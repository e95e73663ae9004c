"""The HTTP server, and the way of one request."""
