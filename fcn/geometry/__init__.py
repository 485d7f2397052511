"""Geometry: what convolution does to space. It knows no parameters' values and no other part of the package.

``arithmetic`` (sizes, parameters, multiply-adds by formula), ``matrix`` (a convolution as matrix products), ``axis`` (which input cells
an output cell reads, along one axis), ``graph`` (a network's spatial operations), ``receptive_field`` (those maps composed, from the
image to every layer), ``probe`` (the same by experiment) and ``effective`` (which pixels matter in practice).
"""
