"""``fcn train``."""
