"""``fcn evaluate``."""
