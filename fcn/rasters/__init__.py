"""Images that need not fit into memory: files whose pixels are read where and when they are needed.

``raster.py`` is what a reader is. A reader is a class of a few methods, a registered part of the kind ``reader``.
"""
