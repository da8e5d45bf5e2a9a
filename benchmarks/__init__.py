"""Measurements, each a command of its own: `python -m benchmarks.NAME`. Ratios, pairs in turn, medians."""
