"""The PostgreSQL engine: for more than one process or machine."""
