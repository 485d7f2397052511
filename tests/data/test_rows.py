"""Rows of images and masks, as Hugging Face's ``datasets`` holds them."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fcn.core.errors import UserError
from fcn.core.labels import VOID
from fcn.data.rows import from_rows
from tests.data.folders import MAP, check

PICTURE = Image.new("RGB", (4, 3), "gray")


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("form", [lambda picture: picture, encoded, lambda picture: {"bytes": encoded(picture), "path": None}, np.array])
def test_pictures_in_each_form(form: Any) -> None:
    rows = [{"image": form(PICTURE), "annotation": form(Image.fromarray(MAP))} for _ in range(2)]
    split = from_rows(rows, classes=["ground", "road", "car"])
    check(split, "000000 000001")
    assert split.labels.names == ("ground", "road", "car")


def test_values_names_and_columns() -> None:
    rows = [{"photo": PICTURE, "truth": Image.fromarray(np.where(MAP == VOID, 0, MAP + 1)), "file": f"{index}.jpg"} for index in range(2)]
    split = from_rows(rows, values={0: "void", 1: "ground", 2: "road", 3: "car"}, image="photo", mask="truth", name="file")
    check(split, "0.jpg 1.jpg")


def test_colours() -> None:
    rows = [{"image": PICTURE, "label": Image.fromarray(np.full((3, 4, 3), (128, 0, 0), np.uint8))}]
    check(from_rows(rows, classes=["ground", "road"]), "000000", np.ones((3, 4), np.uint8))


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"image": PICTURE, "label": PICTURE}, {}, r"give classes=\[\.\.\.\]"),
        ({"photo": PICTURE, "label": PICTURE}, {"classes": ["a", "b"]}, "none of which is known to hold the images: give image=COLUMN"),
        (
            {"image": PICTURE, "label": PICTURE},
            {"classes": ["a", "b"], "mask": "lable"},
            "mask=lable is no column of the rows; did you mean label",
        ),
    ],
)
def test_calls_that_cannot_be_meant(row: dict, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_rows([row], **options)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((3, 4), 7, np.uint8), "row 0, column label holds the value 7"),
        (np.zeros((3, 5), np.uint8), "the image is 4x3 pixels, its mask 5x3"),
        (np.zeros((3, 4)), "row 0, column label is float64"),
        (7, "row 0, column label holds int, no picture"),
        (b"nothing", "holds a picture that cannot be read"),
    ],
)
def test_rows_that_cannot_be_used(mask: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        from_rows([{"image": PICTURE, "label": mask}], classes=["a", "b"])[0]


def test_no_rows() -> None:
    with pytest.raises(UserError, match="no rows given"):
        from_rows([], classes=["a", "b"])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_images_of_many_channels(dtype: str) -> None:
    values = (np.arange(3 * 4 * 5).reshape(3, 4, 5) * 7).astype(dtype)
    rows = [{"image": values, "label": MAP}, {"image": values.transpose(2, 0, 1), "label": MAP.tolist()}]
    split = from_rows(rows, classes=["ground", "road", "car"], channels=5)
    assert (split.images.channels, split.images.dtype) == (5, dtype)
    for image, labels in (split[0], split[1]):
        assert np.array_equal(image.numpy(), values.transpose(2, 0, 1))
        assert np.array_equal(labels.numpy(), MAP)
    with pytest.raises(UserError, match="row 0, column image holds . channels"):
        from_rows(rows, classes=["ground", "road"], channels=4)
    with pytest.raises(UserError, match="channels=0 is not allowed"):
        from_rows(rows, classes=["ground", "road"], channels=0)
    other = from_rows([rows[0], {"image": values.astype("uint8"), "label": MAP}], classes=["ground", "road", "car"], channels=5)
    with pytest.raises(UserError, match="row 1, column image holds uint8, and the other images"):
        other[1]
