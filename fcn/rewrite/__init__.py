"""From graph to graph: a classifier becomes fully convolutional, strides become dilation.

Both rewrite a network as its layers and functions (``fcn.rewrite.editable``), which keeps its parameters' names. ``fcn.graph`` reads its
operations of aten instead. What holds for an operation is read off the one table of both (``fcn.rewrite.names``). Windows are read off the
layers themselves, for their aten operations do not tell all that has to be written back. Padding that depends on the image's size ("SAME")
and fixed padding are the same two operations. A power pool is eight. Pools of sequences are pools of images. A local response norm has a
pool inside that is none. Where space lies in a tensor is measured by runs of shapes. So a part of a network that no map is known for can
stay as it is.
"""
