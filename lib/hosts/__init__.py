"""One load from several hosts: the host process, the controller, and the fleets that connect them."""
