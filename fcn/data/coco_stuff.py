"""COCO-Stuff (Caesar et al. 2018, arXiv:1612.03716): 80 things and 91 kinds of stuff, 118,287 / 5,000 images.

Images are in ``train2017`` and ``val2017``, perhaps below ``images``. Masks are in folders of the same names below
``stuffthingmaps_trainval2017``, ``stuffthingmaps`` or ``annotations``. Their values are COCO-Stuff's ids less one, 0 to 181 with gaps, and
255 for void. Maps ``*_labelTrainIds.png``, whose values are 0 to 170, are taken where they are.

The set has no colours of its own: the classes have those of Pascal VOC's palette.
"""

from pathlib import Path

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.core.registry import register
from fcn.data.layouts import Place
from fcn.data.matching import files_of, matched
from fcn.data.pairs import Pairs
from fcn.data.settings import Root
from fcn.data.split import official

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, parking meter, bench, bird,
cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard,
sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl,
banana, apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv,
laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush, banner, blanket, branch, bridge, building-other, bush, cabinet, cage, cardboard, carpet, ceiling-other,
ceiling-tile, cloth, clothes, clouds, counter, cupboard, curtain, desk-stuff, dirt, door-stuff, fence, floor-marble, floor-other,
floor-stone, floor-tile, floor-wood, flower, fog, food-other, fruit, furniture-other, grass, gravel, ground-other, hill, house, leaves,
light, mat, metal, mirror-stuff, moss, mountain, mud, napkin, net, paper, pavement, pillow, plant-other, plastic, platform, playingfield,
railing, railroad, river, road, rock, roof, rug, salad, sand, sea, shelf, sky-other, skyscraper, snow, solid-other, stairs, stone, straw,
structural-other, table, tent, textile-other, towel, tree, vegetable, wall-brick, wall-concrete, wall-other, wall-panel, wall-stone,
wall-tile, wall-wood, water-other, waterdrops, window-blind, window-other, wood
"""
COCO_STUFF_LABELS = LabelSet(tuple(" ".join(name.split()) for name in _NAMES.split(",")))
UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83, 91)  # COCO's ids without a class
COUNTS = {"train": 118_287, "val": 5_000}
_MASKS = ("stuffthingmaps_trainval2017", "stuffthingmaps", "annotations", "labels", "masks")
_TRAIN_IDS = "{}_labelTrainIds"


@register("data", "coco_stuff")
def coco_stuff(split: str, *, root: Root = "data/coco_stuff") -> Pairs:
    """COCO-Stuff with 171 classes, split ``train`` or ``val``.

    Raises FileNotFoundError where the data set, or a file of it, is missing; UserError for an unknown split.
    """
    if split not in COUNTS:
        raise UserError(f"coco_stuff has the splits {' and '.join(COUNTS)}, not '{split}'")
    base, folder = Path(root), f"{split}2017"
    images = next((path for path in (base / "images" / folder, base / folder) if path.is_dir()), None)
    masks = next((path for name in _MASKS if (path := base / name / folder).is_dir()), None)
    if images is None or masks is None:
        lacking = f"images/{folder}" if images is None else f"stuffthingmaps_trainval2017/{folder} or annotations/{folder}"
        raise FileNotFoundError(f"COCO-Stuff is not in {base} (looked for {lacking}): set data.root to the folder that holds it")
    train_ids = any(masks.glob("*_labelTrainIds.png"))
    place = Place(images, masks, mask=_TRAIN_IDS if train_ids else "{}")
    pairs = matched(place, *files_of(place))
    ids = range(COCO_STUFF_LABELS.num_classes) if train_ids else [number - 1 for number in range(1, 183) if number not in UNUSED]
    values = {VOID: VOID} | {raw: index for index, raw in enumerate(ids)}
    return Pairs(pairs, COCO_STUFF_LABELS, values, notes=official("coco_stuff", split, len(pairs), COUNTS))
