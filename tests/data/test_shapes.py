import hashlib
import pickle
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from fcn.core.labels import VOID
from fcn.data.shapes import LABELS, SOLIDS, SPLITS, Shapes, coverage, shapes

WIRE = LABELS.index("wire")


@pytest.fixture(scope="module")
def train() -> Shapes:
    return shapes("train", count=200, keep=True)


def digest(sample: tuple[Tensor, Tensor]) -> str:
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in sample)).hexdigest()


def digests(split: Shapes, order: list[int]) -> dict[int, str]:
    return {index: digest(split[index]) for index in order}


def pixels(split: Shapes, name: str) -> Tensor:
    return torch.cat([image[:, labels == LABELS.index(name)].float() for image, labels in split], dim=1)


def test_samples_keep_the_contract_of_a_split(train):
    assert len(train) == len(set(train.names)) == 200
    sizes = set()
    for image, labels in train:
        assert image.dtype == labels.dtype == torch.uint8
        assert image.shape == (3, *labels.shape)
        assert all(96 <= side <= 160 for side in labels.shape)
        assert set(labels.unique().tolist()) <= {*range(LABELS.num_classes), VOID}
        sizes.add(labels.shape)
    assert len(sizes) > 150
    assert max(width / height for height, width in sizes) > 1.4
    assert min(width / height for height, width in sizes) < 0.7


def test_the_same_picture_in_every_process_and_order(train):
    split = shapes("train", count=200)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        backward = pool.submit(digests, split, list(range(7, -1, -1)))
        assert backward.result() == digests(train, list(range(8)))


def test_the_number_of_pictures_changes_none_of_them(train):
    assert digest(shapes("train", count=3)[2]) == digest(train[2]) == digest(shapes("train", count=500)[2])


def test_splits_and_seeds_differ():
    firsts = [digest(shapes(split, count=1, seed=seed)[0]) for split in SPLITS for seed in (0, 1)]
    assert len(set(firsts)) == 6


def test_pickles_small_and_keeps_its_pictures(train):
    packed = pickle.dumps(train)
    assert len(packed) < 10_000
    assert digest(pickle.loads(packed)[5]) == digest(train[5])


def test_what_is_read_may_be_changed(train):
    before = digest(train[0])
    image, labels = train[0]
    image.zero_()
    labels.zero_()
    assert digest(train[0]) == before


def test_every_class_has_its_share_and_wires_a_small_one(train):
    counts = sum(torch.bincount(labels.flatten().long(), minlength=256) for _, labels in train)
    shares = dict(zip(LABELS.names, (counts[: LABELS.num_classes] / counts.sum()).tolist(), strict=True))
    assert 0.5 < shares["background"] < 0.75
    assert 0.005 < shares["wire"] < 0.03
    assert all(0.025 < shares[name] < 0.1 for name in LABELS.names[1:-1])
    assert 0.03 < counts[VOID] / counts.sum() < 0.12


def test_void_lies_between_every_object_and_what_it_covers(train):
    """Wherever two classes meet there is void; and void is nothing but a band: at most 2 pixels from a label."""
    for _, labels in train:
        for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
            meet = (one != other) & (one != VOID) & (other != VOID)
            if meet.any():  # only at the end of a covered outline may two labels touch
                assert meet.float().mean() < 0.002
        depth = ndimage.distance_transform_cdt(np.pad(labels.numpy() == VOID, 1, mode="edge"), "chessboard")
        assert depth.max() <= 4


def test_objects_cut_by_the_border(train):
    cut = [set(torch.cat([labels[0], labels[-1], labels[:, 0], labels[:, -1]]).tolist()) - {0, VOID} for _, labels in train]
    assert sum(map(bool, cut)) > 100


def test_wires_are_thin_and_not_eaten_by_their_void(train):
    """The inscribed disk of a wire is at most 3 pixels wide (where two cross, more); its connected pieces are long."""
    widths, lengths = [], []
    for _, labels in train:
        wire = labels.numpy() == WIRE
        depth = ndimage.distance_transform_edt(wire)
        pieces, found = ndimage.label(wire, structure=np.ones((3, 3)))
        widths += (2 * depth[wire] - 1).tolist()
        lengths += [max(piece[0].stop - piece[0].start, piece[1].stop - piece[1].start) for piece in ndimage.find_objects(pieces)]
        assert found <= 30
    assert np.percentile(widths, 98) <= 3.5
    assert np.median(lengths) > 20


def test_later_objects_cover_earlier_ones(train):
    """In many pictures the outlines of two classes lie within a few pixels of each other over some length."""
    pairs = 0
    for _, labels in train:
        objects = [ndimage.binary_dilation(labels.numpy() == index, iterations=3) for index in range(1, LABELS.num_classes)]
        pairs += any((one & other).sum() > 20 for k, one in enumerate(objects) for other in objects[:k])
    assert pairs > 80


def test_colour_does_not_tell_the_class(train):
    """The classes' mean colours are within about a third of the spread inside a class of their common mean."""
    solids = [pixels(train, name) for name in LABELS.names[1:-1]]
    means = torch.stack([values.mean(1) for values in solids])
    spread = torch.stack([values.std(1) for values in solids]).mean()
    assert (means - means.mean(0)).abs().max() < 0.35 * spread


def test_image_edges_are_smooth_where_the_label_changes():
    """Half a pixel of a vertical edge is half of each colour: the rectangle's outline at a pixel's centre."""
    distance = np.array([[-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]], np.float32)
    assert coverage(distance)[0].tolist() == [1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


@pytest.mark.parametrize("name", SOLIDS)
def test_distances_are_distances(name):
    """Against the distance transform of the outline's own inside, drawn on a fine grid."""
    for seed in range(3):
        outline = SOLIDS[name][0](np.random.default_rng(seed), np.array([30.0, 28.0]), 20.0)
        fine = (np.arange(60 * 8, dtype=np.float32) + 0.5) / 8
        distance = outline(fine[:, None], fine[None])
        inside = distance < 0
        reference = (ndimage.distance_transform_edt(~inside) - ndimage.distance_transform_edt(inside)) / 8
        assert inside.any()
        assert np.abs(distance - reference).max() < 0.3  # fine pixels are 0.125; a sharp tip falls between their centres


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"split": "valid", "count": 1}, "train, val, test"),
        ({"split": "val", "count": 0}, "1 or more"),
        ({"split": "val", "count": 1, "size": (8, 20)}, "16 or more"),
        ({"split": "val", "count": 1, "size": (50, 40)}, "smallest, largest"),
        ({"split": "val", "count": 1, "seed": -1}, "0 or more"),
    ],
)
def test_wrong_words_are_answered(options, words):
    split = options.pop("split")
    with pytest.raises(ValueError, match=words):
        shapes(split, **options)


def test_indices_end_where_the_pictures_do(train):
    with pytest.raises(IndexError):
        train[200]
    assert digest(train[-1]) == digest(train[199])


@pytest.mark.parametrize("size", [(16, 16), (16, 40), (300, 300)])
def test_other_sizes(size):
    for image, labels in shapes("val", count=5, size=size):
        assert all(size[0] <= side <= size[1] for side in labels.shape)
        assert image.float().std() > 1


def test_drawing_is_quick():
    split = shapes("test", count=60)
    start = time.process_time()
    for index in range(60):
        split[index]
    assert (time.process_time() - start) / 60 < 0.02  # 2 to 3 ms on an idle core
