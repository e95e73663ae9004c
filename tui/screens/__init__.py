"""One file a screen; see `tui` for how to write one."""
