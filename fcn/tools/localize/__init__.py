"""``fcn localize``."""
