"""``fcn ceiling``."""
