"""``fcn predict``."""
