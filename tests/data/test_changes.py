"""What happens to a sample beside scale, crop and flip: rotation against torchvision, blur, noise, cutout, transforms by name."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as oracle

from fcn.core.errors import UserError
from fcn.core.images import ImageKind
from fcn.core.labels import VOID
from fcn.data.changes import Blur, Cutout, Noise
from fcn.data.named_transforms import NamedTransforms, names
from fcn.data.rotation import region_size, rotated
from fcn.data.transforms import TrainingTransform
from tests.data.test_transforms import generator, noise

GRAY = (9, 9, 9)


def smooth(height: int, width: int) -> Tensor:
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy(np.stack([rows, columns, rows + columns]).astype(np.uint8))


class TestRotation:
    @pytest.mark.parametrize("angle", [-170.0, -33.3, -1.0, 0.5, 12.0, 45.0, 77.0])
    @pytest.mark.parametrize("size", [(20, 20), (9, 30), (15, 8)])
    def test_equals_torchvision(self, angle: float, size: tuple[int, int]) -> None:
        height, width = region_size(size, angle)
        image, labels = smooth(height, width), noise(height, width, seed=1)[0] // 64
        wide = [(height + width) // 2 * 2 + each % 2 for each in (height, width)]  # with the same middle
        above, before = (wide[0] - height) // 2, (wide[1] - width) // 2
        canvas, maps = torch.zeros(3, *wide, dtype=torch.uint8), torch.full((1, *wide), VOID, dtype=torch.uint8)
        canvas[:, above : above + height, before : before + width] = image
        maps[:, above : above + height, before : before + width] = labels
        pictured, mapped = rotated(image, labels, angle, size)
        assert (mapped != VOID).all()
        expected = oracle.center_crop(oracle.rotate(canvas, angle, InterpolationMode.BILINEAR), list(size))
        assert (pictured.int() - expected.int()).abs().max() <= 1
        expected = oracle.center_crop(oracle.rotate(maps, angle, InterpolationMode.NEAREST), list(size))[0]
        assert (mapped != expected).float().mean() < 0.02  # pixels that lie between two

    @pytest.mark.parametrize("turns", [1, 2, -1])
    def test_quarter_turns_are_exact(self, turns: int) -> None:
        height, width = region_size((8, 8), 90.0 * turns)
        image, labels = noise(height, width), noise(height, width, seed=2)[1]
        pictured, mapped = rotated(image, labels, 90.0 * turns, (8, 8))
        assert torch.equal(mapped, oracle.center_crop(labels.rot90(turns)[None], [8, 8])[0])
        assert torch.equal(pictured, oracle.center_crop(image.rot90(turns, (1, 2)), [8, 8]))

    def test_corners_are_the_image_where_it_reaches_and_void_elsewhere(self) -> None:
        transform = TrainingTransform(24, scale=(1.0, 1.0), rotation=180.0)
        inside = [transform(noise(90, 90), torch.ones(90, 90, dtype=torch.uint8), generator(seed))[1] for seed in range(20)]
        assert all((labels == 1).all() for labels in inside)
        image = torch.full((3, 24, 24), 200, dtype=torch.uint8)
        out = [transform(image, torch.ones(24, 24, dtype=torch.uint8), generator(seed)) for seed in range(20)]
        assert sum(bool((labels == VOID).any()) for _, labels in out) > 15
        for turned, labels in out:
            assert set(labels.unique().tolist()) <= {1, VOID}
            outside = torch.nn.functional.pad((labels == VOID).float()[None], (1, 1, 1, 1), value=1.0)
            deep = (torch.nn.functional.max_pool2d(outside, 3, 1)[0] == 0).expand(3, -1, -1)
            assert (turned[deep] >= 199).all()

    def test_without_it_nothing_is_drawn(self) -> None:
        image, labels = noise(50, 60), noise(50, 60, seed=1)[0]
        plain = TrainingTransform(32)(image, labels, generator(3))
        assert all(map(torch.equal, plain, TrainingTransform(32, rotation=0.0, after=())(image, labels, generator(3))))


class TestChanges:
    def test_blur_keeps_the_mean_and_lowers_the_deviation(self) -> None:
        image, labels = noise(40, 40), noise(40, 40)[0]
        blurred, same = Blur(4.0)(image, labels, generator(1))
        assert same is labels
        assert blurred.float().mean() == pytest.approx(image.float().mean(), abs=2)
        assert blurred.float().std() < 0.5 * image.float().std()
        assert Blur(4.0)(noise(1, 1), labels, generator(1))[0].shape == (3, 1, 1)

    def test_noise_has_the_deviation_that_is_drawn(self) -> None:
        image = torch.full((3, 100, 100), 128, dtype=torch.uint8)
        noisy, _ = Noise(0.1)(image, image[0], generator(2))
        wanted = 25.5 * float(torch.rand(1, generator=generator(2)))
        assert noisy.float().std() == pytest.approx(wanted, rel=0.02)
        assert noisy.dtype == torch.uint8

    def test_cutout_is_a_square_of_the_colour_and_void(self) -> None:
        image, labels = noise(30, 40) // 2 + 100, torch.zeros(30, 40, dtype=torch.uint8)
        sides = []
        for seed in range(30):
            cut, left = Cutout(0.5, GRAY)(image, labels, generator(seed))
            rows, columns = (left == VOID).nonzero(as_tuple=True)
            assert torch.equal((cut == 9).all(0), left == VOID)
            if len(rows):
                sides.append(int(rows.max() - rows.min()) + 1)
                assert int(columns.max() - columns.min()) + 1 == sides[-1]
                assert len(rows) == sides[-1] ** 2
        assert max(sides) in (14, 15)
        assert (labels == 0).all()

    def test_each_is_a_function_of_the_generator_and_travels_to_workers(self) -> None:
        after = [Blur(2.0), Noise(0.1), Cutout(0.3, GRAY), NamedTransforms(["RandomPerspective", "RandomGrayscale"], (24, 24), GRAY)]
        transform = TrainingTransform(24, rotation=20, after=after)
        image, labels = noise(60, 50), noise(60, 50, seed=1)[0] // 100
        state = torch.get_rng_state()
        first, second = transform(image, labels, generator(5)), pickle.loads(pickle.dumps(transform))(image, labels, generator(5))
        assert all(map(torch.equal, first, second))
        assert first[0].permute(1, 2, 0).is_contiguous()
        assert torch.equal(state, torch.get_rng_state())
        assert not torch.equal(first[0], transform(image, labels, generator(6))[0])


class TestNamed:
    def test_label_maps_follow_with_the_nearest_and_are_void_outside(self) -> None:
        shift = NamedTransforms(["RandomAffine(degrees=0, translate=(0.9, 0.9))"], (20, 20), GRAY)
        labels = torch.full((20, 20), 3, dtype=torch.uint8)
        seen = set()
        for seed in range(5):
            image, moved = shift(torch.full((3, 20, 20), 200, dtype=torch.uint8), labels, generator(seed))
            assert torch.equal((image == 200).all(0), moved == 3)
            assert torch.equal((image == 9).all(0), moved == VOID)
            seen |= set(moved.unique().tolist())
        assert seen == {3, VOID}

    def test_colour_leaves_label_maps_alone(self) -> None:
        image, labels = noise(8, 8), noise(8, 8, seed=1)[0]
        changed, same = NamedTransforms(["RandomInvert(p=1)", "RandomPosterize(bits=3, p=1.0)"], (8, 8), GRAY)(image, labels, generator())
        assert torch.equal(changed, (255 - image) & 0b11100000)
        assert torch.equal(same, labels)

    @pytest.mark.parametrize(
        ("word", "message"),
        [
            ("RandomGreyscale", "'RandomGreyscale' in transforms is not known; did you mean RandomGrayscale"),
            ("RandomPosterize", r"'RandomPosterize' in .* cannot be made: .*bits.*; give its arguments, as RandomPosterize\(bits=4\)"),
            ("RandomGrayscale(p=", "is no transform; give a name, or a call with plain values"),
            ("RandomGrayscale(p=open('x'))", "is no transform; give a name, or a call with plain values"),
            ("Resize(10)", "makes the image, .* torch.uint8 of shape .*10.*; a transform must keep size and number format"),
            ("ToDtype(torch.float32)", "is no transform"),
            ("RandAugment", "fails on an image with its label map"),
            ("Normalize(mean=[0], std=[1])", "fails on an image with its label map"),
            ("CutMix", "is not known"),
        ],
    )
    def test_what_cannot_be_used_is_refused_at_once(self, word: str, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            NamedTransforms([word], (12, 12), GRAY)

    def test_the_names_are_of_transforms_of_samples(self) -> None:
        assert {"RandomGrayscale", "RandomPerspective", "ElasticTransform", "GaussianBlur"} <= set(names())
        assert not {"MixUp", "Compose", "InterpolationMode"} & set(names())


class TestHolding:
    @pytest.mark.parametrize("size", [24, 90])
    def test_every_crop_holds_the_class(self, size: int) -> None:
        labels = torch.zeros(70, 80, dtype=torch.uint8)
        labels[69, 5] = 1  # a single pixel, which a smaller scale loses
        after = [Cutout(0.9, GRAY), NamedTransforms(["RandomAffine(degrees=90, translate=(0.9, 0.9))"], (size, size), GRAY)]
        for transform in (
            TrainingTransform(size, scale=(0.2, 3.0)),
            TrainingTransform(size, scale=(0.2, 3.0), rotation=180, quarter_turns=True, flip_vertical=0.5, after=after),
        ):
            assert all(1 in transform(noise(70, 80), labels, generator(seed), holding=1)[1] for seed in range(15))

    def test_its_place_in_the_crop_is_random(self) -> None:
        labels = torch.zeros(90, 90, dtype=torch.uint8)
        labels[45, 45] = 1
        transform = TrainingTransform(16, scale=(1.0, 1.0), flip=0)
        places = [tuple((transform(noise(90, 90), labels, generator(s), holding=1)[1] == 1).nonzero()[0].tolist()) for s in range(300)]
        assert {row for row, _ in places} == {column for _, column in places} == set(range(16))

    def test_a_class_that_the_image_lacks_changes_nothing(self) -> None:
        image, labels = noise(40, 40), torch.zeros(40, 40, dtype=torch.uint8)
        transform = TrainingTransform(16)
        assert all(map(torch.equal, transform(image, labels, generator(), holding=1), transform(image, labels, generator())))


def test_the_pixel_of_a_scaled_image_over_a_source_pixel() -> None:
    from fcn.data.transforms import scaled_place

    assert [scaled_place(place, Fraction(2), 3) for place in range(6)] == [0, 0, 1, 1, 2, 2]
    assert [scaled_place(place, Fraction(1, 2), 6) for place in range(3)] == [1, 3, 5]


class TestOtherImages:
    def test_values_of_float_stay_in_their_range_and_are_not_rounded(self) -> None:
        image = 2000 + 500 * torch.rand(5, 40, 40, generator=generator())
        fill = [2100.0, 2200.0, 2300.0, 2400.0, 2450.5]
        images = ImageKind(5, "float32")
        after = [Blur(1.0), NamedTransforms(["RandomVerticalFlip"], (24, 24), fill, images), Cutout(0.5, fill)]
        transform = TrainingTransform(24, scale=(0.5, 1.5), rotation=30, fill=fill, after=after)
        crops = [transform(image, noise(40, 40)[0] // 128, generator(seed)) for seed in range(8)]
        assert all(crop.dtype == torch.float32 and crop.min() > 1999 and crop.max() < 2501 for crop, _ in crops)
        assert any((crop % 1 != 0).any() for crop, _ in crops)
        assert any(torch.equal(crop[:, labels == VOID][:, 0], torch.tensor(fill)) for crop, labels in crops if (labels == VOID).any())

    def test_noise_is_a_share_of_each_channel_s_range(self) -> None:
        image = torch.full((2, 100, 100), 50.0)
        noisy, _ = Noise(0.1, (1000.0, 10.0))(image, image[0], generator(2))
        deviation = 0.1 * float(torch.rand(1, generator=generator(2)))
        assert noisy.std((1, 2)).tolist() == pytest.approx([1000 * deviation, 10 * deviation], rel=0.03)

    def test_fill_of_bytes_is_rounded(self) -> None:
        image, labels = torch.zeros(2, 8, 8, dtype=torch.uint8), torch.zeros(8, 8, dtype=torch.uint8)
        cut, void = Cutout(1.0, (1.6, 300.0))(image, labels, generator(1))
        assert cut[:, void == VOID].unique(dim=1).tolist() == [[2], [255]]

    @pytest.mark.parametrize("word", ["RandomInvert(p=1)", "RandomSolarize(threshold=0.5)", "RandomEqualize(p=1)", "GaussianNoise"])
    def test_what_takes_values_for_those_of_photographs_is_refused(self, word: str) -> None:
        with pytest.raises(UserError, match=r"changes the values .* these are of 5 channels of uint16: give transforms of geometry alone"):
            NamedTransforms([word], (12, 12), (0.0,) * 5, ImageKind(5, "uint16"))
