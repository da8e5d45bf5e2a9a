"""The capacity search: the highest rate of pulls that meets the SLOs."""
