"""``fcn benchmark``: what the ways to run a network over an image cost, and how far their results agree.

``sliding.py``: windows one by one and in batches against the unrolled and the dilated network. ``strategies.py``: blended windows against
the whole image, over sizes. ``labels.py``: the label map against interpolation and arg-max. Each makes rows (``rows.py``) of a report that
``report.py`` writes.
"""
