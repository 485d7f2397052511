"""Pascal VOC 2012 (Everingham et al.) and its larger training set with the masks of SBD (Hariharan et al. 2011).

Masks are palette pictures. Their indices are the classes, and 255 is void. SBD's masks have no void. The usual "augmented" training set is
all that SBD and VOC annotate, without VOC's validation images. SBD's own training split contains some of these: training on it would leak.
"""

from importlib.util import find_spec
from pathlib import Path

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import said
from fcn.core.registry import register
from fcn.data.download import Archive, fetch
from fcn.data.layouts import lists_in
from fcn.data.pairs import Pair, Pairs, files_by_stem, pair_up, read_list
from fcn.data.settings import Download, Root
from fcn.data.split import no_split

VOC_LABELS = LabelSet(
    (
        "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
        "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
    )
)  # fmt: skip

VOC_ARCHIVE = Archive(
    "https://thor.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
    md5="6cd6e144f989b92b3379bac3b3de84fd",
    size=1_999_639_040,
    inside="VOCdevkit/VOC2012",
)
SBD_ARCHIVE = Archive(
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    md5="82b4d87ceb2ed10f6038a1cba92111cb",
    size=1_419_539_633,
    inside="benchmark_RELEASE",
)
_TRAINAUG = 10_582  # images of the augmented training set


@register("data", "voc2012")
def voc2012(split: str, *, root: Root = "data", download: Download = False) -> Pairs:
    """The segmentation part of VOC 2012: ``train`` (1464), ``val`` (1449) or ``trainval`` (2913), 21 classes with background.

    ``root`` holds ``VOCdevkit``, or is ``VOCdevkit`` or ``VOCdevkit/VOC2012`` itself. With ``download``, what is missing is fetched into
    ``root`` (2 GB). Raises FileNotFoundError where it is missing and not to be fetched, UserError for a split it does not have.
    """
    return voc_layout(_devkit(Path(root), download), split, VOC_LABELS, truth=split != "test")  # its maps are not public


@register("data", "voc2012aug")
def voc2012aug(split: str, *, root: Root = "data", download: Download = False) -> Pairs:
    """VOC 2012 with the masks of SBD: ``train`` is (SBD train + SBD val + VOC train) - VOC val = 10,582 images, sorted; ``val`` is VOC's.

    Where both have a mask, VOC's is taken. Beside VOC (see :func:`voc2012`), ``root`` holds SBD as ``benchmark_RELEASE/dataset`` or
    ``sbd``; with ``download``, what is missing is fetched (1.4 GB more). Reading SBD needs scipy. Raises as :func:`voc2012`, and UserError
    if the training set has another number of images.
    """
    if split not in ("train", "val"):
        raise UserError(f"voc2012aug has the splits train and val, not '{split}'" + (_NO_TEST if split == "test" else ""))
    devkit = _devkit(Path(root), download)
    if split == "val":
        return voc_layout(devkit, "val", VOC_LABELS)
    if find_spec("scipy") is None:
        raise UserError("voc2012aug reads masks of SBD, which needs scipy: pip install scipy")
    sbd = _sbd(Path(root), devkit, download)
    lists = devkit / "ImageSets" / "Segmentation"
    missing = [path for path in (lists / "train.txt", lists / "val.txt", sbd / "train.txt", sbd / "val.txt") if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"voc2012aug needs the lists that VOC and SBD come with, and there is no {' and no '.join(map(str, missing))}: "
            f"unpack the archives again ({VOC_ARCHIVE.url}, {SBD_ARCHIVE.url})"
        )
    voc_train, voc_val = (set(read_list(lists / f"{name}.txt")) for name in ("train", "val"))
    sbd_stems = {stem for name in ("train", "val") for stem in read_list(sbd / f"{name}.txt")}
    stems = sorted((sbd_stems | voc_train) - voc_val)
    if len(stems) != _TRAINAUG:
        raise UserError(
            f"the augmented training set of {sbd} and {lists} has {len(stems)} images instead of {_TRAINAUG}: "
            "the lists are not those of SBD and VOC 2012; fetch both anew"
        )
    images = files_by_stem(sbd / "img") | files_by_stem(devkit / "JPEGImages")
    masks = files_by_stem(sbd / "cls", (".mat",)) | _masks(devkit, voc_train)
    return Pairs(pair_up(stems, images, masks, source="voc2012aug train"), VOC_LABELS)


def voc_layout(folder: Path, split: str, labels: LabelSet, *, truth: bool = True) -> Pairs:
    """A split of a folder in VOC's layout: ``JPEGImages``, ``SegmentationClass`` and lists in ``ImageSets/Segmentation``.

    Without ``truth``, a label map that is missing is void throughout instead of an error. Raises UserError, naming the splits there are,
    for one that has no list, and FileNotFoundError for files that are listed and missing.
    """
    lists = folder / "ImageSets" / "Segmentation"
    if not (lists / f"{split}.txt").is_file():
        raise no_split(lists, lists_in(lists), split, f"write {split}.txt with one stem a line" + (_NO_TEST if split == "test" else ""))
    images = files_by_stem(folder / "JPEGImages")
    masks: dict[str, str] = files_by_stem(folder / "SegmentationClass")
    if not truth:
        masks = {stem: masks.get(stem, "") for stem in images}
    pairs: list[Pair] = pair_up(read_list(lists / f"{split}.txt"), images, masks, source=str(lists / f"{split}.txt"))
    return Pairs(pairs, labels)


_NO_TEST = "; the masks of VOC's test images are not public: predict them and send the result to the VOC server"


def _masks(devkit: Path, stems: set[str]) -> dict[str, str]:
    return {stem: path for stem, path in files_by_stem(devkit / "SegmentationClass").items() if stem in stems}


def _devkit(root: Path, download: bool) -> Path:
    for folder in (root / "VOCdevkit" / "VOC2012", root / "VOC2012", root):
        if (folder / "ImageSets" / "Segmentation").is_dir():
            return folder
    if download:
        return fetch(VOC_ARCHIVE, root)
    raise FileNotFoundError(_missing("VOC 2012", root, "VOCdevkit/VOC2012", VOC_ARCHIVE))


def _sbd(root: Path, devkit: Path, download: bool) -> Path:
    for base in (root, devkit.parent, devkit.parent.parent):
        for folder in (base / "benchmark_RELEASE" / "dataset", base / "sbd", base / "SBD"):
            if (folder / "cls").is_dir():
                return folder
    if download:
        return fetch(SBD_ARCHIVE, root) / "dataset"
    raise FileNotFoundError(_missing("SBD", root, "benchmark_RELEASE/dataset", SBD_ARCHIVE))


def _missing(name: str, root: Path, inside: str, archive: Archive) -> str:
    return (
        f"{name} is not in {root} (looked for {inside}): set {said('data.root')} to where it is, "
        f"or {said('data.download', True)} to fetch it "
        f"({archive.size / 1e9:.1f} GB from {archive.url})"
    )
