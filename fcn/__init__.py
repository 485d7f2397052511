"""fcn: fully convolutional segmentation networks, from classifiers to label maps."""
