"""Shows the progress of a run: a live view on a terminal, a plain line every tally interval, or nothing."""
