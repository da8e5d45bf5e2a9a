"""HTTP to registries: the listing, probes and admin calls, on one network thread, with the user's credentials."""
