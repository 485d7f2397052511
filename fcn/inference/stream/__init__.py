"""An exact stream: the image goes through the network's graph in bands of rows, every row of every layer computed once."""

from fcn.inference.stream.scores import Band, Prepared, prepare, score_bands

__all__ = ["Band", "Prepared", "prepare", "score_bands"]
