"""One load from many hosts: a controller, the agents that Dask workers run, and what they say to each other."""
