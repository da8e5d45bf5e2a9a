"""Stand-ins for servers that behave in ways a good server never does."""
