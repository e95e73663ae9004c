"""CPU per request of the whole gateway process, beside a bare echo in the same run. `make bench`."""
