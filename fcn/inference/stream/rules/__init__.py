"""One small rule per operation: how a block of its cells is computed from blocks of its sources. ``RULES`` holds those that need one of
their own; what computes cell by cell needs none (``bound``)."""

from fcn.inference.stream.rules import grids, windows
from fcn.inference.stream.rules.call import RULES, Call, Cut, Cuts, Rule, layout, part, precise
from fcn.inference.stream.rules.pointwise import bound

__all__ = ["RULES", "Call", "Cut", "Cuts", "Rule", "bound", "grids", "layout", "part", "precise", "windows"]
