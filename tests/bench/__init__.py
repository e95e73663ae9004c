"""CPU per request of whole server processes, beside a bare echo, nginx and other gateways. `make bench`."""
