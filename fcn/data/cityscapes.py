"""Cityscapes (Cordts et al. 2016, arXiv:1604.01685): streets in 19 classes at 2048x1024, 2,975 / 500 / 1,525 images.

The folders are those of the archives ``leftImg8bit_trainvaltest.zip`` and ``gtFine_trainvaltest.zip``. Read are the maps ``*_labelIds.png``
as they come; the 19 classes of the benchmark are mapped to 0 to 18, all other ids are void. The maps of the test split are not public.
"""

from pathlib import Path

from fcn.core.labels import VOID, LabelSet
from fcn.core.registry import register
from fcn.data.layouts import Place
from fcn.data.matching import files_of, matched
from fcn.data.pairs import Pair, Pairs, files_by_stem
from fcn.data.settings import Root
from fcn.data.split import official, split_folder

CITYSCAPES_LABELS = LabelSet(
    (
        "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
        "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
    ),
    (
        (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30), (220, 220, 0),
        (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70), (0, 60, 100),
        (0, 80, 100), (0, 0, 230), (119, 11, 32),
    ),
)  # fmt: skip
IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)  # of the classes, in their order
COUNTS = {"train": 2_975, "val": 500, "test": 1_525}
_IMAGE, _MASK = "{}_leftImg8bit", "{}_gtFine_labelIds"


@register("data", "cityscapes")
def cityscapes(split: str, *, root: Root = "data/cityscapes") -> Pairs:
    """Cityscapes with the benchmark's 19 classes, split ``train``, ``val`` or ``test``, as its archives unpack.

    Raises FileNotFoundError where the data set, or a file of it, is missing; UserError for an unknown split.
    """
    base, folder = split_folder("cityscapes", Path(root), split, {name: name for name in COUNTS}, "leftImg8bit/{}", ("cityscapes",))
    place = Place(base / "leftImg8bit" / folder, base / "gtFine" / folder, _IMAGE, _MASK)
    if split == "test":  # whose maps say void throughout
        pairs = [Pair(name, path, "") for name, path in files_by_stem(place.images, pattern=_IMAGE).items()]
    else:
        pairs = matched(place, *files_of(place))
    values = dict.fromkeys((*range(34), VOID), VOID) | {raw: index for index, raw in enumerate(IDS)}  # 255 is the id -1, a number plate
    return Pairs(pairs, CITYSCAPES_LABELS, values, notes=official("cityscapes", split, len(pairs), COUNTS))
