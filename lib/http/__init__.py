"""HTTP requests to registries: the listing, probes and admin calls, in one network thread, with the user's logins."""
