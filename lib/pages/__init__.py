"""Builds HTML pages: one style, one file that needs no network, and no markup from outside."""
