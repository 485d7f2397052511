"""``fcn demo``."""
