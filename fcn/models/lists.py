"""The parts of models by name: ``fcn.list_models``, ``fcn.list_backbones``, ``fcn.list_upsamplers``."""

from fnmatch import filter as matching

from fcn.core.registry import list_parts


def list_models(pattern: str = "*") -> list[str]:
    """The names that ``fcn.create_model`` takes as its first argument.

    >>> fcn.list_models("fcn*")  # ["fcn", "fcn16s", ...]

    pattern: pattern of names, as of files: ``*``, ``?``, ``[abc]``; default: all.

    Returns the names, sorted; those of your own registered parts are among them.
    """
    return list_parts("model", pattern)


def list_backbones(pattern: str = "*") -> list[str]:
    """The names that ``fcn.create_model`` takes as ``backbone=``: torchvision's, segmentation-models-pytorch's, and registered ones.

    >>> fcn.list_backbones("*resnet*")  # ["resnet101", "resnet152", "resnet18", ...]

    pattern: pattern of names, as of files; default: all.

    Returns the names, sorted. Convolutional networks of timm are taken as well: ``timm.list_models("*resnet*")`` lists them.
    """
    import segmentation_models_pytorch as smp

    return sorted({*list_parts("backbone", pattern), *matching(smp.encoders.get_encoder_names(), pattern)})


def list_upsamplers(pattern: str = "*") -> list[str]:
    """The names that ``fcn.create_model`` takes as ``upsample=``.

    >>> fcn.list_upsamplers()  # ["bilinear", "carafe", ...]

    pattern: pattern of names, as of files; default: all.

    Returns the names, sorted.
    """
    return list_parts("upsample", pattern)
