"""What the toolkit is asked to compare."""
