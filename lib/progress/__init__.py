"""What a watcher sees of a run that goes on: a live view on a terminal, a plain line every tally, or nothing."""
