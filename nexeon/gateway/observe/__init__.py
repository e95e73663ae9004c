"""What can be seen of the gateway: measures, records, lines, traces."""
