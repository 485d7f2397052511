"""What the documents show by hand: arithmetic in words, matrices, the field by experiment, checkerboards."""
