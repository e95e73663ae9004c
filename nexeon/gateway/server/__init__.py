"""HTTP in and out: the app, its connections and processes, their start and end, and the pages that are no format's."""
