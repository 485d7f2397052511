"""From files to tensors: data sets, labels, transforms, and pictures of labels.

A split of a data set returns ``(image, labels)`` for an index: uint8 (3, H, W) in RGB, and uint8 (H, W) of class indices or ``VOID``. A
split has ``labels`` (a LabelSet), ``names`` (one per sample) and a length. See ``split.Split``.
"""
