"""What every HTML page here shares: one look, one file that opens without a network, text that stays text."""
