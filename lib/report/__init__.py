"""Pictures of a finished run: one HTML page made of its summary and, where given, its events."""
