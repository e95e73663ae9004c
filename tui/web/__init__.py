"""The admin terminal in a browser: textual-serve behind the admin token. Needs the extra `web`."""
