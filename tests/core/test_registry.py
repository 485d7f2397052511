"""Registering parts: what belongs to whom, which settings a part has, and what is refused."""

import functools
import sys
from importlib.metadata import EntryPoint
from typing import Literal

import pytest
from torch import nn

import fcn
from fcn.cli.composing import compose
from fcn.cli.words import WrongCallError
from fcn.core import plugins, registry
from fcn.core.registry import build, find
from fcn.training.optim import create_schedule


@pytest.fixture(autouse=True)
def kept(monkeypatch):
    """The parts that are there before a test are those after it."""
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


class Repeated(nn.Module):
    """Every cell repeated.

    scale: factor of the values.
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, *, scale: float = 1.0) -> None:
        super().__init__()
        self.mix, self.factor, self.scale = nn.Conv2d(in_channels, out_channels, 1), factor, scale

    def forward(self, x):
        return self.scale * nn.functional.interpolate(self.mix(x), scale_factor=float(self.factor))


def test_a_part_belongs_to_the_module_that_registers_it(tmp_path, monkeypatch):
    """Of a function from elsewhere, importing that module would register nothing."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "elsewhere.py").write_text("def slow(progress, *, last: float = 0.1):\n    return last\n")
    (tmp_path / "registering.py").write_text("import elsewhere\nimport fcn\nfcn.register('schedule', 'slow')(elsewhere.slow)\n")
    plugins.load_plugins(["registering"])
    assert find("schedule", "slow").plugin == "registering"
    for name in ("registering", "elsewhere"):
        monkeypatch.delitem(sys.modules, name)


def test_a_part_of_an_installed_package_needs_no_word(tmp_path, monkeypatch):
    """A checkpoint asks for its module before any part is looked for."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "installed_parts.py").write_text("import fcn\nfcn.register('schedule', 'theirs')(lambda progress: 0.5)\n")
    point = EntryPoint("theirs", "installed_parts", "fcn.plugins")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point])
    plugins.load_packages.cache_clear()
    try:
        plugins.check_plugins(["installed_parts"], "best.pt")
        assert find("schedule", "theirs").plugin == "installed_parts"
    finally:
        plugins.load_packages.cache_clear()
        sys.modules.pop("installed_parts", None)


def test_inherited_settings_are_settings():
    @fcn.register("upsample", "louder")
    class Louder(Repeated):
        """Repeated."""

    part = find("upsample", "louder")
    assert [setting.name for setting in part.settings] == ["scale"]
    assert build("upsample", "louder", 3, 3, 2, scale=4.0).scale == 4


@pytest.mark.parametrize("keyword", [False, True])
def test_the_parameter_name_is_the_chosen_name(keyword):
    def positional(progress: float, name: str) -> float:
        return float(name == "b")

    def keyword_only(progress: float, *, name: str) -> float:
        return float(name == "b")

    fcn.register("schedule", "a", "b")(keyword_only if keyword else positional)
    assert "name" not in {setting.name for setting in find("schedule", "b").settings}
    assert create_schedule("b", 1, warmup=0.0)(0) == 1
    assert create_schedule("a", 1, warmup=0.0)(0) == 0
    compose("train", ["schedule=b"])


def test_a_part_registered_again_takes_the_place_of_the_first():
    """A cell of a notebook that is run twice."""
    for last in (0.1, 0.2):

        @fcn.register("schedule", "again")
        def again(progress: float, *, last: float = last) -> float:
            return last

    assert create_schedule("again", 1, warmup=0.0)(0) == 0.2
    assert compose("train", ["schedule=again"]).schedule.last == 0.2


def test_settings_may_be_called_what_the_toolkit_calls_its_own_things():
    @fcn.register("upsample", "kinds")
    class Kinds(Repeated):
        """Repeated.

        weights: of the mean.
        """

        def __init__(
            self, in_channels: int, out_channels: int, factor: int, *, kind: Literal["a", "b"] = "a", settings: int = 1, weights: str = "c"
        ) -> None:
            super().__init__(in_channels, out_channels, factor)
            self.given = (kind, settings, weights)

    part = compose("train", ["upsample=kinds", "upsample.kind=b", "upsample.weights=d"]).upsample
    assert part.options() == {"kind": "b", "settings": 1, "weights": "d"}
    network = fcn.create_model("fcn2s", num_classes=2, backbone="compact", upsample="kinds", kind="b", upsample_weights="d")
    assert next(module.given for module in network.modules() if isinstance(module, Kinds)) == ("b", 1, "d")


@pytest.mark.parametrize(("kind", "name", "facts", "message"), [
    ("upsample", "mine", {"scael": 1.0}, r"register\('upsample', 'mine', scael=...\): scael is not known; did you mean scale"),
    ("upsample", "mine", {"sound": True}, "sound is not known"),
    ("loss", "my-term", {}, "takes names of letters, digits and _, and was given 'my-term'"),
    ("loss", "lambda", {}, "takes names of letters"),
    ("upsample", "my.part", {}, "takes names of letters, digits, _ and -"),
])  # fmt: skip
def test_what_cannot_be_registered_is_said(kind, name, facts, message):
    with pytest.raises(fcn.UserError, match=message):
        fcn.register(kind, name, **facts)(Repeated)


def test_a_setting_with_a_name_that_is_taken_is_refused():
    def part(progress: float, *, options: str = "") -> float:
        return 1.0

    with pytest.raises(fcn.UserError, match="schedule=mine has a setting 'options'"):
        fcn.register("schedule", "mine")(part)


def test_a_function_without_settings_and_a_partial_are_parts():
    fcn.register("schedule", "plain")(lambda progress: 0.5)
    assert create_schedule("plain", 1, warmup=0.0)(0) == 0.5

    def falling(progress: float, *, last: float) -> float:
        return last

    fcn.register("schedule", "filled")(functools.partial(falling, last=0.25))
    assert create_schedule("filled", 1, warmup=0.0)(0) == 0.25


def test_defaults_are_not_shared_with_what_is_made_of_them():
    @fcn.register("schedule", "listed")
    def listed(progress: float, *, steps: list[float] = [0.5]) -> float:  # noqa: B006
        return 1.0

    compose("train", ["schedule=listed"]).schedule.steps.append(0.7)
    assert compose("train", ["schedule=listed"]).schedule.steps == [0.5]


def test_a_term_that_must_be_told_something_asks_for_it_only_where_it_counts():
    @fcn.register("loss", "told")
    def told(*, alpha: float):
        """A term."""

    assert compose("train", []).loss.told == 0
    assert compose("train", ["loss.told=1", "loss.told_alpha=2"]).loss.arguments()["options"] == {"told": {"alpha": 2.0}}
    with pytest.raises(WrongCallError, match="told_alpha must be given; write"):
        compose("train", ["loss.told=1"])
