"""An exact stream: the image goes through the network's graph in bands of rows, every row of every layer computed once.

``prepare.py`` has the network's graph at the size of the image. ``program.py`` turns it into instructions, each with the rule of its
operation (``fcn/graph/ops``). ``plan.py`` says which rows are computed when, ``run.py`` does it. ``scores.py`` first gathers what needs all
of the image, in passes of its own. ``strategy.py`` chooses the band for a budget of memory. The idea is that of fused-layer accelerators
(Alwani et al. 2016, "Fused-Layer CNN Accelerators").
"""

from fcn.inference.stream.prepare import prepare
from fcn.inference.stream.scores import Known, Prepared, gather, score_bands
from fcn.inference.stream.strategy import stream

__all__ = ["Known", "Prepared", "gather", "prepare", "score_bands", "stream"]
