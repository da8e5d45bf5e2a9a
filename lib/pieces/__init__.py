"""Pieces of a load as text: what several hosts send or write, and how it adds up."""
