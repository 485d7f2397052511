"""Training and scoring: losses, rates, the loop, what it records, and the confusion matrix."""
