"""From graph to graph: a classifier becomes fully convolutional, strides become dilation."""
