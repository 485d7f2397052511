"""What the toolkit is asked to show and to compare."""
