"""Augmentation against resizing the whole image, against torchvision's colours, and against what was painted."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as oracle

from fcn.core.labels import VOID
from fcn.data.transforms import ColorJitter, TrainingTransform, change_colors, resized_crop, resized_label_crop, scaled_size

STEPS = [Fraction(*step) for step in ((1, 2), (9, 16), (7, 10), (15, 16), (1, 1), (16, 15), (13, 9), (25, 13), (2, 1), (31, 15), (5, 1))]


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """The hardest picture for a filter: no two neighbours alike; in channels-last memory, as decoders give it."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)).permute(2, 0, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def resized(image: Tensor, step: Fraction) -> Tensor:
    return F.interpolate(image[None], scale_factor=float(1 / step) * (1 + 1e-9), mode="bilinear", antialias=True)[0]


class TestResizedCrop:
    @pytest.mark.parametrize("step", STEPS, ids=str)
    def test_equals_resize_then_crop(self, step: Fraction) -> None:
        image = noise(97, 131)
        whole = resized(image, step)
        sizes = whole.shape[1:]
        assert sizes == tuple(scaled_size(size, step) for size in image.shape[1:])
        rng = np.random.default_rng(1)
        for _ in range(25):
            top, left = (int(rng.integers(0, size)) for size in sizes)
            height, width = int(rng.integers(1, sizes[0] - top + 1)), int(rng.integers(1, sizes[1] - left + 1))
            crop = resized_crop(image, step, (top, left), (height, width))
            expected = whole[:, top : top + height, left : left + width]
            assert (crop.int() - expected.int()).abs().max() <= 1
        assert torch.equal(resized_crop(image, step, (0, 0), tuple(sizes)), whole)

    @pytest.mark.parametrize("step", [Fraction(3, 4), Fraction(8, 5)], ids=str)
    def test_equals_float_arithmetic(self, step: Fraction) -> None:
        image = noise(64, 80)
        exact = F.interpolate(image[None].double(), scale_factor=float(1 / step), mode="bilinear", antialias=True)[0]
        crop = resized_crop(image, step, (7, 11), (20, 30))
        assert (crop - exact[:, 7:27, 11:41]).abs().max() <= 1.5  # two passes, rounded each

    @pytest.mark.parametrize("planar", [True, False])
    def test_a_single_pixel_is_the_weighted_mean(self, planar: bool) -> None:
        image = noise(5, 7).contiguous() if planar else noise(5, 7)
        rows, columns = (np.maximum(0, 1 - abs(np.arange(n) + 0.5 - 2.5) / 5) for n in (5, 7))  # triangles that reach 5 pixels
        expected = np.einsum("cij,i,j->c", image.numpy(), rows / rows.sum(), columns / columns.sum())
        pixel = resized_crop(image, Fraction(5), (0, 0), (1, 1))
        assert pixel.shape == (3, 1, 1)
        assert abs(pixel.numpy()[:, 0, 0] - expected).max() <= 1.5  # two passes, rounded each

    @pytest.mark.parametrize("step", STEPS, ids=str)
    def test_labels_equal_nearest_exact(self, step: Fraction) -> None:
        labels = noise(61, 83)[0].contiguous()
        height, width = (scaled_size(size, step) for size in labels.shape)
        centres = [(np.arange(n) + 0.5) * float(step) for n in (height, width)]
        expected = labels[torch.from_numpy(np.floor(centres[0] + 1e-9)).long()][:, torch.from_numpy(np.floor(centres[1] + 1e-9)).long()]
        assert torch.equal(resized_label_crop(labels, step, (0, 0), (height, width)), expected)
        assert torch.equal(resized_label_crop(labels, step, (3, 5), (6, 7)), expected[3:9, 5:12])
        whole = F.interpolate(labels[None, None], scale_factor=float(1 / step), mode="nearest-exact")[0, 0, :height, :width]
        assert (whole != expected).float().mean() < 0.05  # differs in rounding on a pixel's border only

    def test_any_memory_layout(self) -> None:
        image = noise(40, 50)
        step = Fraction(3, 4)
        crops = [resized_crop(x, step, (2, 3), (30, 31)) for x in (image, image.contiguous(), image.flip(2).flip(2))]
        assert all(torch.equal(crop, crops[0]) for crop in crops)
        labels = torch.zeros(40, 50, dtype=torch.uint8)
        out = [
            TrainingTransform(size)(x, labels, generator(seed))[0]
            for x in (image, image.contiguous())
            for size in (8, 90)
            for seed in range(5)
        ]
        assert all(crop.permute(1, 2, 0).is_contiguous() for crop in out)


class TestColors:
    @pytest.mark.parametrize("size", [(16, 16), (5, 7), (1, 1)])
    def test_no_change_is_none(self, size: tuple[int, int]) -> None:
        image = noise(*size)
        assert torch.equal(change_colors(image, 1.0, 1.0, 1.0, 0.0), image)

    @pytest.mark.parametrize("factor", [0.6, 1.0, 1.4])
    def test_equals_torchvision(self, factor: float) -> None:
        image = noise(16, 24) // 3 + 60  # nothing to clip on the way
        smooth = F.interpolate(image[None, :, ::8, ::8], scale_factor=8, mode="nearest")[0]  # its mean does not depend on the sampling
        for got, expected in (
            (change_colors(image, factor, 1, 1), oracle.adjust_brightness(image, factor)),
            (change_colors(image, 1, 1, factor), oracle.adjust_saturation(image, factor)),
            (change_colors(smooth, 1, factor, 1), oracle.adjust_contrast(smooth, factor)),
        ):
            assert (got.int() - expected.int()).abs().max() <= 1

    def test_hue_turns_the_chroma(self) -> None:
        image = noise(8, 8) // 4 + 90
        luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
        turned = change_colors(image, 1, 1, 1, 0.2)
        assert (turned.int() - image.int()).abs().max() > 10
        assert ((turned * luma).sum(0) - (image * luma).sum(0)).abs().max() <= 1
        back = change_colors(turned, 1, 1, 1, -0.2)
        assert (back.int() - image.int()).abs().max() <= 2
        gray = torch.full((3, 4, 4), 77, dtype=torch.uint8)
        assert torch.equal(change_colors(gray, 1, 1, 0.3, 0.4), gray)

    def test_clips(self) -> None:
        image = torch.tensor([0, 100, 255], dtype=torch.uint8).view(3, 1, 1)
        assert change_colors(image, 2.0, 1, 1).flatten().tolist() == [0, 200, 255]
        assert image.flatten().tolist() == [0, 100, 255]


class TestTransform:
    def test_is_determined_by_the_generator(self) -> None:
        transform = pickle.loads(pickle.dumps(TrainingTransform(64, color=ColorJitter(0.4, 0.4, 0.4, 0.1))))
        image, labels = noise(90, 70), noise(90, 70, 1)[0].contiguous()
        state = torch.get_rng_state()
        first, second, other = (transform(image, labels, generator(seed)) for seed in (3, 3, 4))
        assert torch.equal(torch.get_rng_state(), state)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
        assert not torch.equal(first[0], other[0])
        assert torch.equal(image, noise(90, 70))

    @pytest.mark.parametrize("seed", range(40))
    def test_image_and_labels_stay_aligned(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 5, (rng.integers(2, 8), rng.integers(2, 8)), np.uint8)
        labels = torch.from_numpy(np.kron(coarse, np.ones((20, 20), np.uint8)))
        image = (labels * 50).expand(3, -1, -1)
        crop = (int(rng.integers(1, 200)), int(rng.integers(1, 200)))
        out, out_labels = TrainingTransform(crop, fill=(250, 250, 250))(image, labels, generator(seed))
        assert out.shape == (3, *crop)
        assert out_labels.shape == crop
        painted = torch.where(out_labels == VOID, 250, out_labels.int() * 50)
        difference = (out.int() - painted).abs().amax(0)
        # Only within the filter's reach of an edge between classes may the two differ; void borders are sharp in both.
        same = torch.ones(crop, dtype=torch.bool)
        padded = F.pad(out_labels[None, None].float(), (2, 2, 2, 2), mode="replicate")[0, 0]
        for y in range(5):
            for x in range(5):
                neighbour = padded[y : y + crop[0], x : x + crop[1]]
                same &= (neighbour == out_labels) | (neighbour == VOID) | (out_labels == VOID)
        assert difference[same].numel() == 0 or difference[same].max() <= 1
        assert (difference[out_labels == VOID] == 0).all()

    def test_without_scale_it_is_a_crop(self) -> None:
        image, labels = noise(30, 40), noise(30, 40, 1)[0].contiguous()
        transform = TrainingTransform((10, 12), scale=(1.0, 1.0), flip=0.0)
        for seed in range(10):
            out, out_labels = transform(image, labels, generator(seed))
            windows = image.unfold(1, 10, 1).unfold(2, 12, 1)
            top, left = ((windows == out[:, None, None]).all(0).all(-1).all(-1)).nonzero()[0].tolist()
            assert torch.equal(out_labels, labels[top : top + 10, left : left + 12])

    def test_upside_down(self) -> None:
        image, labels = noise(20, 20), noise(20, 20, 1)[0].contiguous()
        options = {"scale": (1.0, 1.0), "flip": 0.0}
        plain, turned = (TrainingTransform(20, flip_vertical=share, **options)(image, labels, generator()) for share in (0.0, 1.0))
        assert torch.equal(plain[0], image)
        assert torch.equal(turned[0], image.flip(1))
        assert torch.equal(turned[1], labels.flip(0))

    @pytest.mark.parametrize("size", [20, 15])
    def test_quarter_turns(self, size: int) -> None:
        image, labels = noise(size, size), noise(size, size, 1)[0].contiguous()
        whole = TrainingTransform(20, scale=(1.0, 1.0), flip=0.0)(image, labels, generator())
        seen = set()
        for seed in range(40):
            transform = TrainingTransform(20, scale=(1.0, 1.0), flip=0.0, quarter_turns=True)
            turned = transform(image, labels, torch.Generator().manual_seed(seed))
            plain = TrainingTransform(20, scale=(1.0, 1.0), flip=0.0)(image, labels, torch.Generator().manual_seed(seed))
            turns = [k for k in range(4) if torch.equal(turned[0], plain[0].rot90(k, (1, 2))) and torch.equal(turned[1], plain[1].rot90(k))]
            assert len(turns) == 1
            assert turned[0].stride() == whole[0].stride()
            seen.add(turns[0])
        assert seen == {0, 1, 2, 3}
        with pytest.raises(ValueError, match="quarter_turns needs a square crop"):
            TrainingTransform((20, 10), quarter_turns=True)

    def test_flip(self) -> None:
        image, labels = noise(20, 20), noise(20, 20, 1)[0].contiguous()
        plain, flipped = (TrainingTransform(20, scale=(1.0, 1.0), flip=flip)(image, labels, generator()) for flip in (0.0, 1.0))
        assert torch.equal(plain[0], image)
        assert torch.equal(flipped[0], image.flip(2))
        assert torch.equal(flipped[1], labels.flip(1))
        half = TrainingTransform(20, scale=(1.0, 1.0))
        count = sum(torch.equal(half(image, labels, generator(seed))[0], image) for seed in range(200))
        assert 70 < count < 130

    def test_scale_limits_and_spread(self) -> None:
        image, labels = noise(20, 20), torch.zeros(20, 20, dtype=torch.uint8)
        transform = TrainingTransform(64, scale=(0.5, 2.0))
        sides = [int((transform(image, labels, generator(seed))[1] != VOID).any(0).sum()) for seed in range(300)]
        assert min(sides) in (10, 11)
        assert max(sides) in (39, 40)
        assert abs(np.mean(sides) - 24.5) < 1.5  # uniform from 10 to 40, cut to whole pixels
        assert int((TrainingTransform(64, scale=(1.5, 1.5))(image, labels, generator())[1] != VOID).sum()) == 900

    def test_padding_lies_anywhere(self) -> None:
        image, labels = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.ones(2, 2, dtype=torch.uint8)
        transform = TrainingTransform(4, scale=(1.0, 1.0), fill=(1, 2, 3))
        corners = set()
        for seed in range(200):
            out, out_labels = transform(image, labels, generator(seed))
            corners.add(tuple((out_labels == 1).nonzero()[0].tolist()))
            assert (out_labels == VOID).sum() == 12
            assert (out == torch.tensor([1, 2, 3]).view(3, 1, 1)).all(0).equal(out_labels == VOID)
        assert len(corners) == 9

    @pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 1), (700, 2), (20, 30)])
    @pytest.mark.parametrize("crop", [1, 33])
    @pytest.mark.parametrize("scale", [(0.02, 16.0), (0.01, 0.02), (5e-324, 5e-324)])
    @pytest.mark.parametrize("planar", [True, False])
    def test_any_size(self, size: tuple[int, int], crop: int, scale: tuple[float, float], planar: bool) -> None:
        transform = TrainingTransform(crop, scale=scale, color=ColorJitter(1, 1, 1, 0.5))
        image = noise(*size).contiguous() if planar else noise(*size)
        for seed in range(20):
            out, labels = transform(image, torch.zeros(size, dtype=torch.uint8), generator(seed))
            assert out.shape == (3, crop, crop)
            assert out.dtype == labels.dtype == torch.uint8
            assert (labels == 0).any()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"crop_size": 0}, "crop_size=0"),
            ({"scale": (2.0, 0.5)}, "the smaller first"),
            ({"scale": (0.0, 1.0)}, "more than 0"),
            ({"flip": 1.5}, "flip=1.5 is a probability"),
            ({"fill": (0, 0), "color": ColorJitter()}, "color is for RGB images, and fill has 2 channels"),
        ],
    )
    def test_values_out_of_range(self, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            TrainingTransform(**({"crop_size": 4} | options))

    def test_jitter_out_of_range(self) -> None:
        with pytest.raises(ValueError, match=r"hue=0\.6 is out of range: 0 to 0\.5"):
            ColorJitter(hue=0.6)
