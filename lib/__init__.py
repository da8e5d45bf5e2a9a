"""ocidriver: a load test of pull-through OCI registries with real clients."""

__version__ = "0.1.0"
