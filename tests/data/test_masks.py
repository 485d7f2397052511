"""What the pixels of a mask mean: values, colours, binary masks, and what is no class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.core.errors import UserError
from fcn.core.labels import VOID
from fcn.data.folder import folder
from tests.data.folders import MAP, check, image, mask, painted, text

COLORS = {0: (1, 2, 3), 1: (255, 0, 0), 2: (0, 128, 255), VOID: (224, 224, 192)}
CLASSES = "ground #010203\nroad #ff0000\ncar #0080ff\n"
BINARY = np.array([[0, 0, 255, 255], [0, 0, 255, 255], [0, 0, 0, 0]], np.uint8)


def put(root: Path, values: np.ndarray, classes: str | None = CLASSES, **options: object) -> None:
    """Two samples in train and one in val, of the same mask."""
    for name in ("train/images/a", "train/images/b", "val/images/c"):
        image(root / f"{name}.jpg", values.shape[1::-1])
        mask(root / f"{name.replace('images', 'masks')}.png", values, **options)
    if classes:
        text(root / "classes.txt", classes)


class TestValues:
    def test_gray_in_three_bands_is_read_by_value_whatever_the_classes_colours(self, tmp_path: Path) -> None:
        """64 and 128 are grays of VOC's palette as well."""
        values = np.array([[0, 64], [128, 149]], np.uint8)
        classes = "\n".join(f"c{index}" for index in range(150)) + "\n"
        for low in (values, np.where(values == 149, 0, values)):
            put(tmp_path / str(low.max()), np.repeat(low[..., None], 3, 2), classes)
            assert (folder("val", root=tmp_path / str(low.max())).truth(0).numpy() == low).all()

    def test_gaps_and_void_by_name(self, tmp_path: Path) -> None:
        raw = np.select([MAP == 1, MAP == 2, MAP == VOID], [70, 9, 13], 4)
        put(tmp_path, raw, classes=None)
        split = folder("train", root=tmp_path, values={4: "ground", 70: "road", 9: "car", 13: "void"})
        check(split, "a b")
        assert split.labels.names == ("ground", "road", "car")

    def test_classes_of_the_list_by_name_and_index(self, tmp_path: Path) -> None:
        put(tmp_path, np.select([MAP == 1, MAP == 2, MAP == VOID], [70, 9, 255], 4))
        check(folder("train", root=tmp_path, values={4: "0", 70: "road", 9: "car"}), "a b")

    def test_void_is_void_also_where_a_class_has_that_name(self, tmp_path: Path) -> None:
        put(tmp_path, np.array([[0, 1, 2, 2]]), "void\nroad\ncar\n")
        found = folder("train", root=tmp_path, values={0: "void", 1: "road", 2: "car"})
        check(found, "a b", np.array([[VOID, 1, 2, 2]], np.uint8))

    def test_several_values_of_one_class(self, tmp_path: Path) -> None:
        put(tmp_path, np.array([[0, 1, 2, 3]]), classes=None)
        check(folder("train", root=tmp_path, values={0: "a", 1: "b", 2: "a", 3: "void"}), "a b", np.array([[0, 1, 0, VOID]], np.uint8))

    def test_reduce_zero_label(self, tmp_path: Path) -> None:
        put(tmp_path, np.where(MAP == VOID, 0, MAP + 1))
        check(folder("train", root=tmp_path, reduce_zero_label=True), "a b")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"values": {0: "ground", 1: "rode"}}, r"values=\{0: 'ground', 1: 'rode'\}: 'rode' is no class; did you mean road"),
            ({"values": {70000: "ground"}}, "70000 is no value of a mask"),
            ({"values": {0: "ground"}, "reduce_zero_label": True}, "give one of them"),
        ],
    )
    def test_that_cannot_be_meant(self, tmp_path: Path, options: dict, message: str) -> None:
        put(tmp_path, MAP)
        with pytest.raises(UserError, match=message):
            folder("train", root=tmp_path, **options)

    def test_numbers_without_names(self, tmp_path: Path) -> None:
        put(tmp_path, MAP, classes=None)
        with pytest.raises(UserError, match="gives numbers for classes that no file names"):
            folder("train", root=tmp_path, values={0: "0", 255: "1"})

    def test_value_that_is_not_listed(self, tmp_path: Path) -> None:
        put(tmp_path, MAP, classes=None)
        values = {0: "a", 1: "b"}
        with pytest.raises(
            UserError, match=r"a\.png holds the value 2 \(first in row 1, column 1\).*values=\{0: 'a', 1: 'b', 2: '\?', 255: 'void'\}"
        ):
            folder("train", root=tmp_path, values=values)[0]
        check(folder("train", root=tmp_path, values=values, unknown="void"), "a b", np.where(MAP == 2, VOID, MAP))


class TestBinary:
    def test_is_understood_and_said(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY, "ground\nthing\n")
        split = folder("train", root=tmp_path)
        check(split, "a b", BINARY // 255)
        assert "hold 0 and 255 only, so 255 is taken for thing, not for void" in split.notes[0]
        assert "values={0: 'ground', 1: 'thing', 255: 'void'}" in split.notes[0]
        check(folder("train", root=tmp_path, values={0: "ground", 1: "thing", 255: "void"}), "a b", BINARY)

    def test_black_and_white_in_rgb(self, tmp_path: Path) -> None:
        put(tmp_path, np.stack([BINARY] * 3, 2), "ground\nthing\n")
        check(folder("train", root=tmp_path), "a b", BINARY // 255)
        check(folder("train", root=tmp_path, values={0: "ground", 255: "thing"}), "a b", BINARY // 255)
        put(tmp_path, np.stack([MAP] * 3, 2), "ground\nroad\ncar\n")
        check(folder("train", root=tmp_path), "a b")

    def test_both_splits_are_read_alike(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY, "ground\nthing\n")
        mask(tmp_path / "train" / "masks" / "b.png", BINARY // 255)  # so 255 is void everywhere
        check(folder("val", root=tmp_path), "c", BINARY)
        mask(tmp_path / "train" / "masks" / "b.png", BINARY * 0)
        check(folder("val", root=tmp_path), "c", BINARY // 255)

    def test_masks_of_zero_alone_say_nothing(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY * 0, "ground\nthing\n")
        assert folder("train", root=tmp_path).notes == ()

    def test_another_value_later_is_an_error(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY, "ground\nthing\n")
        split = folder("train", root=tmp_path)
        mask(tmp_path / "train" / "masks" / "b.png", BINARY // 255)
        with pytest.raises(UserError, match=r"b\.png holds the value 1 .*255 was taken for thing"):
            split[1]

    def test_three_classes_are_not_binary(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY)
        check(folder("train", root=tmp_path), "a b", BINARY)

    def test_without_a_list_one_word_is_enough(self, tmp_path: Path) -> None:
        put(tmp_path, BINARY, classes=None)
        with pytest.raises(FileNotFoundError, match=r"give values=\{0: 'background', 255: 'thing'\}, and no list is needed"):
            folder("train", root=tmp_path)
        check(folder("train", root=tmp_path, values={0: "background", 255: "thing"}), "a b", BINARY // 255)


class TestColours:
    @pytest.mark.parametrize("alpha", [False, True])
    def test_rgb_and_rgba(self, tmp_path: Path, alpha: bool) -> None:
        put(tmp_path, painted({key: (*color, 255) if alpha else color for key, color in COLORS.items()}))
        check(folder("train", root=tmp_path), "a b")

    def test_unknown_colour_is_an_error_with_its_place(self, tmp_path: Path) -> None:
        colors = painted(COLORS)
        colors[2, 1] = (9, 9, 9)
        put(tmp_path, colors)
        with pytest.raises(
            UserError, match=r"a\.png holds the colour #090909 \(first in row 2, column 1.*ground #010203, road #ff0000"
        ) as error:
            folder("train", root=tmp_path)[0]
        assert str(tmp_path / "classes.txt") in str(error.value)
        expected = MAP.copy()
        expected[2, 1] = VOID
        check(folder("train", root=tmp_path, unknown="void"), "a b", expected)

    def test_blurred_borders_are_recognised(self, tmp_path: Path) -> None:
        colors = np.zeros((20, 20, 3), np.uint8) + np.array(COLORS[0], np.uint8)
        colors[10:] = COLORS[1]
        colors[10, :20] = [(value, 1, 1) for value in range(100, 120)]
        put(tmp_path, colors)
        with pytest.raises(UserError, match=r"blurred borders .* unknown='void'"):
            folder("train", root=tmp_path)[0]

    def test_colours_without_any_in_the_list(self, tmp_path: Path) -> None:
        put(tmp_path, painted(COLORS), "ground\nroad\ncar\n")  # three channels, not gray
        with pytest.raises(UserError, match="write the classes' colours after their names, as 'road #804080'"):
            folder("train", root=tmp_path)[0]

    def test_two_classes_of_one_colour(self, tmp_path: Path) -> None:
        put(tmp_path, painted(COLORS), "ground #010203\nroad #ff0000\ncar #ff0000\n")
        with pytest.raises(UserError, match="has #ff0000 for both road and car"):
            folder("train", root=tmp_path)[0]

    def test_palette_numbered_anew_is_read_by_its_colours(self, tmp_path: Path) -> None:
        palette = [*COLORS[2], *COLORS[1], *COLORS[VOID], *COLORS[0]] + [7] * 756
        put(tmp_path, np.select([MAP == 2, MAP == 1, MAP == VOID], [0, 1, 2], 3), palette=palette)
        with pytest.warns(UserWarning, match="colours of the classes at other indices"):
            check(folder("train", root=tmp_path), "a b")

    def test_a_palette_numbered_anew_with_a_stray_colour_is_not_read_by_its_indices(self, tmp_path: Path) -> None:
        """One blurred pixel must not change the meaning of all others."""
        palette = [*COLORS[2], *COLORS[1], *COLORS[0], 9, 9, 9] + [7] * 756
        values = np.select([MAP == 2, MAP == 1], [0, 1], 2)
        values[0, 0] = 3
        put(tmp_path, values, "ground #010203\nroad #ff0000\ncar #0080ff\ntree #00ff00\n", palette=palette)
        for unknown in ("error", "void"):
            with pytest.raises(
                UserError, match=r"#0080ff at 0, and the colour #090909 that no class has: save it in RGB .* or give values="
            ):
                folder("train", root=tmp_path, unknown=unknown)[0]
        values[0, 0] = 9  # no index of a class
        put(tmp_path, values, "ground #010203\nroad #ff0000\ncar #0080ff\ntree #00ff00\n", palette=palette)
        expected = np.where(MAP == VOID, 0, MAP)
        expected[0, 0] = VOID
        check(folder("train", root=tmp_path, unknown="void"), "a b", expected)

    def test_indices_with_a_palette_of_other_colours_stay_indices(self, tmp_path: Path) -> None:
        """One of whose colours happens to be another class's."""
        palette = [7, 7, 7, *COLORS[2], 8, 8, 8] + [9] * 759
        put(tmp_path, np.where(MAP == VOID, 0, MAP), palette=palette)
        check(folder("train", root=tmp_path), "a b", np.where(MAP == VOID, 0, MAP))

    def test_gray_colours_of_classes_are_read_in_gray_too(self, tmp_path: Path) -> None:
        shades = np.select([MAP == 1, MAP == 2], [128, 200], 0)
        put(tmp_path, shades, "ground #000000\nroad #808080\ncar #c8c8c8\n")
        check(folder("train", root=tmp_path), "a b", np.where(MAP == VOID, 0, MAP))

    @pytest.mark.parametrize(
        ("bits", "number"), [(8, "holds 255, which is void by its number"), (1, "holds 1, which is 'car' by its number")]
    )
    def test_gray_that_may_mean_indices_or_colours_is_refused(self, tmp_path: Path, bits: int, number: str) -> None:
        classes = "road #000000\ncar #ff0000\nlane #ffffff\n"
        put(tmp_path, BINARY, classes)
        if bits == 1:
            for path in tmp_path.glob("*/masks/*.png"):
                Image.fromarray(BINARY).convert("1").save(path)
        with pytest.raises(UserError, match=f"{number} and 'lane' by its colour: save it in RGB .* or give values="):
            folder("train", root=tmp_path)[0]
        values = {0: "road", 1: "car", 2: "lane", 255: "void"}
        check(folder("train", root=tmp_path, values=values), "a b", BINARY if bits == 8 else BINARY // 255)
        put(tmp_path, np.repeat(BINARY[..., None], 3, 2), classes)
        check(folder("train", root=tmp_path), "a b", np.where(BINARY, 2, 0))

    def test_gray_masks_of_a_set_that_hold_numbers_hold_numbers_all(self, tmp_path: Path) -> None:
        """One of them holds a number that is no shade of a class, so that 0 and 255 in another one are numbers too."""
        put(tmp_path, BINARY, "road #000000\ncar #ff0000\nlane #ffffff\n")
        mask(tmp_path / "val" / "masks" / "c.png", np.where(BINARY, 1, 0))
        check(folder("train", root=tmp_path), "a b", BINARY)

    @pytest.mark.parametrize("palette", [[0] * 768, [value for index in range(256) for value in (index, index, index)]])
    def test_palette_that_tells_nothing_is_read_by_its_indices(self, tmp_path: Path, palette: list[int]) -> None:
        put(tmp_path, MAP, "ground #000000\nroad #010101\ncar #020203\n", palette=palette)
        check(folder("train", root=tmp_path), "a b")
