"""``fcn export``."""
