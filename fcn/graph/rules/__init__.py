"""One small rule per operation: from the layout of what it reads to the layout of what it gives, with an exact map per axis.

``RULES`` maps aten's operator names (without overload, without the trailing underscore of in-place forms) to functions
``rule(call) -> Result``. Operations that torch tags as pointwise share one rule. An operation without a rule is refused by the reader.
"""

from fcn.graph.rules import layouts, pointwise, resizes, sums, windows
from fcn.graph.rules.call import RULES, Call, Result, Value

__all__ = ["RULES", "Call", "Result", "Value", "layouts", "pointwise", "resizes", "sums", "windows"]
