"""What is measured of images that are not RGB, and what pictures show of them."""

import numpy as np
import pytest
import torch
from torch import Tensor

from fcn.core.images import RGB, ImageKind, from_plain
from fcn.core.labels import LabelSet
from fcn.data.measured import measured, moments
from fcn.data.transforms import TrainingTransform, resized_crop
from fcn.data.visible import visible, words

DTYPES = [torch.uint8, torch.uint16, torch.float32]


class Drawn:
    """A split of noise around 1000, or 100 for uint8."""

    labels = LabelSet(("a", "b"))

    def __init__(self, images: ImageKind, count: int = 3) -> None:
        self.images, self.names = images, [str(index) for index in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]:
        middle = 100 if self.images.dtype == "uint8" else 1000
        rng = np.random.default_rng(index)
        values = rng.normal(middle, middle / 10, (self.images.channels, 20, 30 + index)).astype(self.images.dtype)
        return torch.from_numpy(values), torch.zeros(20, 30 + index, dtype=torch.uint8)

    def truth(self, index: int, /) -> Tensor:
        return self[index][1]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_moments_are_those_of_all_pixels(dtype: str) -> None:
    split = Drawn(ImageKind(4, dtype))  # type: ignore[arg-type]
    found = measured(split, progress=False)
    pixels = np.concatenate([split[index][0].flatten(1).numpy() for index in range(3)], 1).astype(np.float64)
    assert found.mean == pytest.approx(pixels.mean(1))
    assert found.std == pytest.approx(pixels.std(1))
    assert np.array(found.ranges) == pytest.approx(np.percentile(pixels, (0.5, 99.5), axis=1).T)
    assert from_plain(found.plain()) == found


def test_a_given_range_stays_and_rgb_is_not_measured() -> None:
    assert measured(Drawn(ImageKind(1, "uint16", ((0, 4095),))), progress=False).ranges == ((0, 4095),)
    assert measured(Drawn(RGB), progress=False) == RGB


def test_values_that_are_not_finite_do_not_count() -> None:
    image = torch.tensor([[[1.0, float("nan"), 3.0, float("inf")]], [[float("nan")] * 4]])
    found = moments(image)
    assert (found.count.tolist(), found.mean.tolist(), found.std.tolist()) == ([2, 0], [2, 0], [1, 0])


def test_pictures_show_three_channels_from_black_to_white() -> None:
    kind = ImageKind(4, "uint16", ((0, 1), (100, 200), (0, 4095), (0, 65535)), (3, 2, 1))
    image = torch.tensor([[0, 0, 0], [0, 150, 300], [0, 2048, 4095], [0, 32768, 65535]], dtype=torch.uint16)[:, None]
    assert visible(image, kind)[:, 0:1].squeeze().tolist() == [[0, 128, 255], [0, 128, 255], [0, 128, 255]]
    assert words(kind) == "pictures show the channels 4 from 0 to 65535, 3 from 0 to 4095, 2 from 100 to 200"
    nothing = torch.tensor([[[float("nan"), float("inf"), -float("inf"), 0.5]]])
    assert visible(nothing, ImageKind(1, "float32"))[:, :][0].tolist() == [[0, 255, 0, 128]]
    assert visible(image, RGB) is image


@pytest.mark.parametrize("dtype", DTYPES)
def test_crops_of_any_kind_are_those_of_float(dtype: torch.dtype) -> None:
    values = torch.randint(0, 250, (5, 40, 50), generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(40, 50, dtype=torch.uint8)
    options = {"scale": (0.6, 1.7), "fill": (1, 2, 3, 4, 5), "quarter_turns": True, "flip_vertical": 0.5}
    for seed in range(6):
        crops = [
            TrainingTransform(32, **options)(values.to(each), labels, torch.Generator().manual_seed(seed))
            for each in (dtype, torch.float32)
        ]
        (image, _), (exact, _) = crops
        assert image.dtype == (torch.uint8 if dtype == torch.uint8 else torch.float32)
        assert image.shape == (5, 32, 32)
        assert image.permute(1, 2, 0).is_contiguous()
        assert (image.float() - exact).abs().max() <= (1.1 if dtype == torch.uint8 else 0)  # two roundings


def test_a_crop_that_is_not_scaled_has_the_values_of_the_file() -> None:
    from fractions import Fraction

    image = torch.randint(0, 65536, (2, 9, 9)).to(torch.uint16)
    crop = resized_crop(image, Fraction(1), (2, 3), (4, 5))
    assert torch.equal(crop, image[:, 2:6, 3:8].float())
