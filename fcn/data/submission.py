"""The archive for the Pascal VOC evaluation server: one palette PNG of class indices per test image.

The archive is a gzipped tar of ``results/VOC2012/Segmentation/comp6_test_cls/<id>.png``. Each PNG has its image's original size and the
values 0..20, without void. (comp6: any training data; comp5: only VOC's own.) Source: the VOC2012 development kit, section 9.2.
"""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.labels import LabelSet
from fcn.data.pictures import save_labels

INSIDE = Path("results") / "VOC2012" / "Segmentation" / "comp6_test_cls"


class Submission:
    """Label maps gathered below ``folder``, then checked and packed. ``names``: the images' ids."""

    def __init__(self, folder: Path, names: Sequence[str], label_set: LabelSet) -> None:
        self.folder, self.names, self.label_set = folder, names, label_set

    def add(self, index: int, image: Tensor, truth: Tensor, labels: Tensor) -> None:
        """Write the predicted ``labels`` (H, W) of sample ``index``, whose image (3, H, W) has the size that they must have."""
        name = self.names[index]
        if labels.shape != image.shape[-2:]:
            raise UserError(f"the label map of {name} has the size {tuple(labels.shape)}, its image {tuple(image.shape[-2:])}")
        save_labels(labels, self.label_set, self.folder / INSIDE / f"{name}.png")

    def pack(self) -> Path:
        """Check every map as it lies on the disk and pack them all into ``results.tgz``.

        Raises UserError, naming the file, for a map that is missing, is no palette PNG or has a value that is no class.
        """
        for name in self.names:
            path = self.folder / INSIDE / f"{name}.png"
            if not path.is_file():
                raise UserError(f"the label map {path} is missing; the server wants one for each of the {len(self.names)} images")
            with Image.open(path) as picture:
                mode, highest = picture.mode, int(np.asarray(picture).max())
            if mode != "P" or highest >= self.label_set.num_classes:
                raise UserError(
                    f"{path} is not what the server takes (mode {mode}, highest value {highest}); "
                    f"it must be a palette PNG with values 0 to {self.label_set.num_classes - 1}"
                )
        archive = self.folder / "results.tgz"
        with written(archive) as temporary, tarfile.open(temporary, "w:gz") as tar:
            tar.add(self.folder / "results", arcname="results")
        return archive
