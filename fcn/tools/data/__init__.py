"""``fcn data``."""
