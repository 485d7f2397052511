import numpy as np
import pytest
import torch
from PIL import Image

from fcn.core.labels import VOID, LabelSet
from fcn.data import pictures
from fcn.data.images import Shown
from fcn.data.pictures import colorize, legend, overlay, sample_sheet, save_labels, save_overlay
from fcn.data.shapes import LABELS, shapes

SET = LabelSet(("background", "cat", "dog"))


def random_map(height: int, width: int, label_set: LabelSet = SET) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    values = np.array([*range(label_set.num_classes), VOID], np.uint8)
    return rng.choice(values, (height, width))


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 1), (40, 31)])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, lambda labels: torch.from_numpy(labels).long()])
def test_saved_labels_are_the_indices_and_carry_the_colours(tmp_path, size, kind):
    labels = random_map(*size)
    save_labels(kind(labels), SET, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == "P"
        assert (np.asarray(picture) == labels).all()
        assert (np.asarray(picture.convert("RGB")) == colorize(labels, SET)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_colours_are_those_of_the_label_set():
    colors = colorize(np.array([[0, 1, 2, VOID]]), SET)
    assert [tuple(color) for color in colors[0].tolist()] == [*SET.colors, (224, 224, 192)]


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([[0, 3]], np.uint8), "holds the value 3.*0 to 2, or 255"),
        (np.array([[0, 256]]), "0 to 2, or 255"),
        (np.array([[0, -1]]), "0 to 2, or 255"),
        (np.zeros((2, 2), np.float32), "integers"),
        (np.zeros((2, 2, 3), np.uint8), "height, width"),
        (np.zeros((0, 2), np.uint8), "height, width"),
    ],
)
def test_what_is_no_label_map_is_refused_before_a_file_is_made(tmp_path, labels, words):
    with pytest.raises(ValueError, match=words):
        save_labels(labels, SET, tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_images_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"\(3, 4, 5\).*\(4, 6\)"):
        overlay(random_image(4, 5), np.zeros((4, 6), np.uint8), SET)


def test_overlay_mixes_inside_and_leaves_the_background():
    image, labels = random_image(9, 9), np.zeros((9, 9), np.uint8)
    labels[2:7, 2:7] = 1
    flat = overlay(image, labels, SET, alpha=0.25, contours=False)
    picture = image.transpose(1, 2, 0)
    assert (flat[labels == 0] == picture[labels == 0]).all()
    expected = 0.75 * picture[labels == 1] + 0.25 * np.array(SET.colors[1])
    assert np.abs(flat[labels == 1] - expected).max() <= 0.5
    ringed = overlay(image, labels, SET, alpha=0.25)
    assert (ringed[3:6, 3:6] == flat[3:6, 3:6]).all()
    assert (ringed[2, 2:7] == SET.colors[1]).all()
    assert (ringed[labels == 0] == flat[labels == 0]).all()


def test_overlay_ends_are_the_image_and_the_colours():
    image, labels, named = random_image(8, 5), random_map(8, 5), LabelSet(("sky", "cat", "dog"))
    assert (overlay(image, labels, named, alpha=0, contours=False) == image.transpose(1, 2, 0)).all()
    assert (overlay(image, labels, named, alpha=1) == colorize(labels, named)).all()
    with pytest.raises(ValueError, match="0 to 1"):
        overlay(image, labels, named, alpha=1.5)


def test_legend_shows_each_class_once_and_wraps():
    many = LabelSet(tuple(f"class number {index}" for index in range(30)))
    wide, narrow = legend(many, range(30), 900), legend(many, range(30), 200)
    assert wide.width == 900
    assert narrow.width == 200
    assert narrow.height > 2 * wide.height
    for picture in (wide, narrow):
        colors = {color for _, color in picture.getcolors(1 << 20)}
        assert set(many.colors) <= colors


def test_legend_names_void_only_where_it_occurs():
    void = (224, 224, 192)
    with_void, without = (legend(SET, present, 300) for present in ([0, VOID], [0, 1]))
    assert void in {color for _, color in with_void.getcolors(1 << 20)}
    assert void not in {color for _, color in without.getcolors(1 << 20)}


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (60, 80)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_saved_overlays_have_the_image_above_the_legend(tmp_path, size, suffix):
    image, labels = random_image(*size), random_map(*size)
    save_overlay(torch.from_numpy(image), torch.from_numpy(labels), SET, tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as picture:
        assert picture.width >= size[1]
        assert picture.height > size[0] + 10
        if suffix == "png":
            assert (np.asarray(picture)[: size[0], : size[1]] == overlay(image, labels, SET)).all()


def test_large_overlays_are_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "LARGEST", 500)
    labels = np.zeros((30, 2000), np.uint8)
    labels[:, 1999] = 2  # lost by the reduction, still in the legend
    save_overlay(random_image(30, 2000), labels, SET, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 500
        assert SET.colors[2] in {color for _, color in picture.getcolors(1 << 20)}


@pytest.mark.parametrize("largest", [4096, 30])
def test_an_image_may_be_read_in_rows(tmp_path, largest, monkeypatch):
    image, labels = random_image(60, 90), random_map(60, 90)
    monkeypatch.setattr(pictures, "LARGEST", largest)
    monkeypatch.setattr(pictures, "BAND", 700)
    for name, given in (("array", image), ("rows", Shown(Image.fromarray(image.transpose(1, 2, 0))))):
        save_overlay(given, labels, SET, tmp_path / f"{name}.png")
    with Image.open(tmp_path / "array.png") as expected, Image.open(tmp_path / "rows.png") as picture:
        assert np.array_equal(picture, expected)


def test_a_very_wide_overlay(tmp_path):
    save_overlay(random_image(2, 20_000), random_map(2, 20_000), SET, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 4096


def test_a_sheet_shows_small_pictures_enlarged_pixel_by_pixel():
    image, labels = random_image(20, 30), random_map(20, 30)
    sheet = np.asarray(sample_sheet([(image, labels, labels)], SET))
    big = image.transpose(1, 2, 0).repeat(12, 0).repeat(12, 1)
    colors = colorize(labels, SET).repeat(12, 0).repeat(12, 1)
    top, left = 34, 12
    assert (sheet[top : top + 240, left : left + 360] == big).all()
    assert (sheet[top : top + 240, left + 372 : left + 732] == colors).all()
    assert (sheet[top : top + 240, left + 744 : left + 1104] == colors).all()


def test_a_sheet_marks_errors():
    image, truth = random_image(10, 10), np.zeros((10, 10), np.uint8)
    prediction = truth.copy()
    prediction[0, 0] = 1  # wrong
    truth[9, 9] = VOID
    prediction[9, 9] = 2  # void: neither right nor wrong
    plain, marked = (sample_sheet([(image, truth, prediction)], SET, errors=errors) for errors in (False, True))
    assert marked.width > plain.width
    colors = {color: count for count, color in marked.getcolors(1 << 22)}
    assert colors[pictures.WRONG] == 36 * 36


@pytest.mark.parametrize("sizes", [[(1, 1)], [(1, 400), (400, 1)], [(900, 1200), (700, 300)]])
def test_sheets_of_any_sizes(sizes):
    rows = [(random_image(*size), random_map(*size), random_map(*size)) for size in sizes]
    sheet = sample_sheet(rows, SET, names=["a name that goes on " * 20] * len(rows), errors=True)
    assert sheet.width < 4 * 660
    assert sheet.mode == "RGB"


def test_sheets_refuse_what_does_not_fit():
    row = (random_image(4, 4), random_map(4, 4), random_map(4, 4))
    with pytest.raises(ValueError, match="one row"):
        sample_sheet([], SET)
    with pytest.raises(ValueError, match="2 names given for 1 rows"):
        sample_sheet([row], SET, names=["a", "b"])
    with pytest.raises(ValueError, match=r"its label map shape \(4, 5\); give"):
        sample_sheet([(row[0], row[1], random_map(4, 5))], SET)


def test_samples_of_a_split_can_be_shown():
    image, labels = shapes("val", count=1)[0]
    assert sample_sheet([(image, labels, labels)], LABELS, names=["val_00000"]).width > 700


@pytest.mark.parametrize("size", [(50, 70), (1, 900), (1700, 40)])
def test_bands_of_an_overlay_leave_no_trace(size, monkeypatch):
    """Also where contours are thicker than a band."""
    image, labels = random_image(*size), np.repeat(random_map(-(-size[0] // 9), size[1]), 9, 0)[: size[0]]
    expected = overlay(image, labels, SET)
    for band in (1000, 1):
        monkeypatch.setattr(pictures, "BAND", band)
        assert np.array_equal(overlay(image, labels, SET), expected)


def test_an_image_reduced_in_bands_is_the_mean_over_its_pixels(tmp_path, monkeypatch):
    image = random_image(60, 90)
    monkeypatch.setattr(pictures, "LARGEST", 30)
    monkeypatch.setattr(pictures, "BAND", 200)
    save_overlay(image, np.zeros((60, 90), np.uint8), SET, tmp_path / "o.png")  # background: the image alone
    expected = image.reshape(3, 20, 3, 30, 3).mean((2, 4)).transpose(1, 2, 0)
    with Image.open(tmp_path / "o.png") as picture:
        assert np.abs(np.asarray(picture)[:20, :30] - expected).max() <= 1
