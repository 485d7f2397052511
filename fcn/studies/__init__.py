"""What the toolkit is asked to compare: measurements, and the reports that they make."""
