"""The report: one HTML page that shows a finished run, made from its summary and, if given, its events."""
