"""Fuzzing (atheris) of what reads text from outside. `make fuzz` runs each target for a while; see `__main__`."""
