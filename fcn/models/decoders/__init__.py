"""Decoders: from a backbone's features to class scores.

A decoder is a module ``forward(features) -> scores``: (N, num_classes, h, w) at ``decoder.stride`` image pixels per cell. It is built with
an up-sampler factory, so that every decoder runs with every up-sampler. Inside, maps grow by whole factors. Where the skip that they meet
is smaller, they are cropped from the top left. With ``align`` they are also moved onto its grid, since backbones know where their cells
lie. The way from ``decoder.stride`` to the size of the image is the segmenter's.
"""
