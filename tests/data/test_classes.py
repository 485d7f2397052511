"""Lists of classes: the one form that is read, and what other tools write, which is never taken for names."""

from pathlib import Path

import pytest

from fcn.core.labels import voc_colors
from fcn.data.classes import read_classes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "classes.txt"


def test_names_colours_and_comments(path: Path) -> None:
    path.write_text("\ufeff# my classes\nground\n\ntraffic light  #Ff8000\ncar # any\nbus #000001 # or coach\n", encoding="utf-8")
    labels = read_classes(path)
    assert labels.names == ("ground", "traffic light", "car", "bus")
    assert labels.colors == (voc_colors(1)[0], (255, 128, 0), voc_colors(3)[2], (0, 0, 1))


@pytest.mark.parametrize("line", ["car #12345", "car #12345g", "car#", "car #ff0000 bus"])
def test_line_that_is_no_class(path: Path, line: str) -> None:
    path.write_text(f"a\nb\n{line}\n")
    with pytest.raises(ValueError, match=r"classes\.txt, line 3: "):
        read_classes(path)


def test_too_few_and_repeated(path: Path) -> None:
    for text, message in (("a", "1 classes given"), ("a\na", "must be unique"), ("caf\u00e9\ncafe\u0301", "must be unique")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=rf"classes\.txt: .*{message}.*write one class name a line"):
            read_classes(path)


@pytest.mark.parametrize(
    ("text", "line", "looks_like"),
    [
        ("__ignore__\n_background_\nroad\n", 1, "labelme"),
        ("Pixel Value, Class\n0, background\n1, road\n", 1, "header of a table"),
        ("name,r,g,b\nroad,128,64,128\nsky,70,130,180\n", 1, "header of a table"),
        ("class_name\nroad\nsky\n", 1, "header of a table"),
        ("# label:color_rgb:parts:actions\nroad:128,64,128::\nsky:::\n", 2, "CVAT"),
        ("sky:::\nroad:128,64,128::\n", 1, "CVAT"),
        ("0: unlabeled\n1: road\n", 1, "index"),
        ("0\tbackground\n1\troad\n", 1, "row of a table"),
        ("background\t0\nroad\t1\n", 1, "row of a table"),
        ("Idx\tRatio\tTrain\tVal\tName\n1\t0.1\t1\t2\twall\n", 1, "row of a table"),
        ("1 background\n2 road\n", 1, "index 1"),
        ("0 background\n1 road\n2 traffic light\n", 1, "index 0"),
        ("background 0\nroad 1\n", 1, "index 0"),
        ("background, 0\nroad, 1\n", 1, "index"),
        ("background=0\nroad=1\n", 1, "index"),
        ("road\n1. sky\n", 2, "index"),
        ("128 64 128 road\n0 0 0 sky\n", 1, "colour in numbers"),
        ("road 128  64 128\nsky 0 0 0\n", 1, "colour in numbers"),
        ("road;128;64;128\nsky;0;0;0\n", 1, "colour in numbers"),
        ("#804080 road\n#000000 sky\n", 1, "begins with a colour"),
        ("names:\n  0: a\n  1: b\n", 1, "YAML"),
        ("path: ../streets\nnames: [a, b]\n", 2, "YAML"),
        ("- a\n- b\n", 1, "YAML"),
        ('["a", "b"]', 1, "JSON"),
        ('{"a": 0, "b": 1}', 1, "JSON"),
        ("<labels>\n<item>a</item>\n", 1, "XML"),
        ('"background"\n"road"\n', 1, "quoted"),
        ("background,\nroad,\n", 1, "quoted"),
        ("// mine\na\nb\n", 1, "comments begin with #"),
        ("* a\n* b\n", 1, "of a document"),
        ("a\x01\nb\n", 1, r"U\+0001"),
        ("a\nb\n\u200ba\n", 3, r"U\+200B"),
    ],
)
def test_lists_of_other_tools_are_refused(path: Path, text: str, line: int, looks_like: str) -> None:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"classes\.txt, line {line}: .*{looks_like}"):
        read_classes(path)


@pytest.mark.parametrize("text", ["a\nb\n", "stra\u00dfe\nroad\n"])
@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32-le"])
def test_other_codings_are_refused(path: Path, text: str, coding: str) -> None:
    path.write_bytes(text.encode(coding))
    with pytest.raises(ValueError, match=r"classes\.txt (is UTF-16|holds NUL bytes|is not UTF-8).*save it as UTF-8"):
        read_classes(path)


@pytest.mark.parametrize(
    "names",
    [
        ("background", "4 wheeler", "2 wheeler"),
        ("zone 1", "zone 2", "zone 3"),
        ("0", "1", "2"),
        ("building, edifice", "wall"),
        ("door;double door", "wall"),
        ("vehicle: car", "vehicle: train"),
        ("train", "label", "class"),
        ("_background_", "aeroplane"),
        ("route 66 (old)", "3d-print"),
        ("caf\u00e9", "\u9053\u8def"),
    ],
)
def test_unusual_names_are_names(path: Path, names: tuple[str, ...]) -> None:
    path.write_text("\n".join(names), encoding="utf-8")
    assert read_classes(path).names == names
