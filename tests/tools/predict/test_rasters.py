"""``fcn predict`` of rasters: what it leaves, and going on after a kill."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml

import fcn
from fcn.cli.main import run
from fcn.inference.blocks import label_blocks
from fcn.rasters import spool as spool_module
from fcn.tools.predict.plan import Image, is_raster
from fcn.tools.predict.rasters import state_of
from tests.two_processes import TWO_PROCESSES

rasterio = pytest.importorskip("rasterio")
tifffile = pytest.importorskip("tifffile")

HEIGHT, WIDTH = 203, 151


def scene_of(path, height=HEIGHT, width=WIDTH, seed=0, place=True, **form):
    from rasterio.transform import from_origin

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (3, height // 9 + 1, width // 9 + 1), np.uint8)
    values = coarse.repeat(9, 1).repeat(9, 2)[:, :height, :width] // 2 + rng.integers(0, 99, (3, height, width), np.uint8)
    if place:
        form |= {"crs": "EPSG:32633", "transform": from_origin(500000, 4600000, 10, 10)}
    with rasterio.open(path, "w", "GTiff", width, height, 3, dtype="uint8", tiled=True, blockxsize=64, blockysize=64, **form) as file:
        file.write(values)
    return values


def words(tiny_run, scene, out, *more):
    return ["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={scene}", f"output={out}", "device=cpu", *more]


@pytest.fixture
def small_records(monkeypatch):
    monkeypatch.setattr(spool_module, "AT_ONCE", 3000)


class TestWhatIsARaster:
    def test_what_lies_on_the_earth_or_is_of_another_format(self, tmp_path, monkeypatch):
        scene_of(tmp_path / "geo.tif", 20, 20)
        scene_of(tmp_path / "plain.tif", 20, 20, place=False)
        (tmp_path / "x.zarr").mkdir()
        found = {name: is_raster(tmp_path / name) for name in ("geo.tif", "plain.tif", "x.zarr", "x.svs", "x.vrt", "none.png")}
        assert found == {"geo.tif": True, "plain.tif": False, "x.zarr": True, "x.svs": True, "x.vrt": True, "none.png": False}
        monkeypatch.setattr("fcn.tools.predict.plan.LARGE", 399)
        assert is_raster(tmp_path / "plain.tif")


class TestResults:
    def test_labels_with_their_place_and_all_that_is_asked_for(self, tiny_run, tmp_path, capsys):
        values = scene_of(tmp_path / "scene.tif")
        out = tmp_path / "out"
        pytest.importorskip("pyogrio")
        assert run(words(tiny_run, tmp_path / "scene.tif", out, "confidence=true", "polygons=true")) == 0
        assert "1 of 1 images labelled" in capsys.readouterr().out
        names = {f"scene_{end}" for end in ("labels.tif", "labels.tif.aux.xml", "overlay.jpg", "confidence.tif", "polygons.gpkg")}
        assert {path.name for path in out.iterdir()} == names | {"config.yaml", "predict.json"}
        model = fcn.load(tiny_run / "best.pt")
        labels, sure = fcn.predict(model, values.transpose(1, 2, 0), confidence=True, strategy="whole")
        with rasterio.open(out / "scene_labels.tif") as file, rasterio.open(tmp_path / "scene.tif") as scene:
            assert (file.read(1) == labels).all()
            assert (file.crs, file.transform, file.nodata) == (scene.crs, scene.transform, 255)
        with rasterio.open(out / "scene_confidence.tif") as file:
            assert (abs(file.read(1).astype(int) - sure) <= 1).all()

    @pytest.mark.parametrize(("form", "ending"), [("cog", ".tif"), ("zarr", ".zarr"), ("tif", ".tif")])
    def test_each_format_of_any_picture(self, form, ending, tiny_run, tmp_path):
        values = scene_of(tmp_path / "scene.tif", place=False)
        assert run(words(tiny_run, tmp_path / "scene.tif", tmp_path / "out", f"format={form}", "overlay=none")) == 0
        labels = fcn.predict(fcn.load(tiny_run / "best.pt"), values.transpose(1, 2, 0))
        path = tmp_path / "out" / f"scene_labels{ending}"
        found = pytest.importorskip("zarr").open_group(str(path), mode="r")["0"][:] if form == "zarr" else tifffile.imread(path)
        assert (found == labels).all()

    def test_pictures_and_rasters_side_by_side(self, tiny_run, tmp_path):
        (tmp_path / "in").mkdir()
        scene_of(tmp_path / "in" / "b.tif")
        scene_of(tmp_path / "in" / "c.tif", place=False)
        scene_of(tmp_path / "in" / "a.tif", seed=1)
        assert run(words(tiny_run, tmp_path / "in", tmp_path / "out", "overlay=none")) == 0
        names = {"a_labels.tif", "a_labels.tif.aux.xml", "b_labels.tif", "b_labels.tif.aux.xml", "c.png", "config.yaml", "predict.json"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == names

    def test_what_only_gdal_reads_is_found_in_a_folder(self, tiny_run, tmp_path):
        """A JPEG 2000 stays a picture."""
        (tmp_path / "in").mkdir()
        scene_of(tmp_path / "source.tif")
        with rasterio.open(tmp_path / "source.tif") as scene:
            values = scene.read()
            for name, driver in (("a.vrt", "VRT"), ("b.img", "HFA")):
                pytest.importorskip("rasterio.shutil").copy(scene, tmp_path / "in" / name, driver=driver)
        PIL.Image.fromarray(values.transpose(1, 2, 0)).save(tmp_path / "in" / "c.jp2")
        assert run(words(tiny_run, tmp_path / "in", tmp_path / "out", "overlay=none")) == 0
        names = {"a_labels.tif", "a_labels.tif.aux.xml", "b_labels.tif", "b_labels.tif.aux.xml", "c.png", "config.yaml", "predict.json"}
        assert {path.name for path in (tmp_path / "out").iterdir()} == names
        labels = [tifffile.imread(tmp_path / "out" / f"{name}_labels.tif") for name in "ab"]
        assert (labels[0] == labels[1]).all()
        assert (labels[0] == np.asarray(PIL.Image.open(tmp_path / "out" / "c.png"))).all()

    def test_a_damaged_scene_is_named_and_the_others_are_labelled(self, tiny_run, tmp_path, capsys):
        (tmp_path / "in").mkdir()
        for name in "ab":
            scene_of(tmp_path / "in" / f"{name}.tif")
        content = (tmp_path / "in" / "a.tif").read_bytes()
        (tmp_path / "in" / "a.tif").write_bytes(content[: len(content) // 2])
        assert run(words(tiny_run, tmp_path / "in", tmp_path / "out", "format=tif", "overlay=none")) == 1
        captured = capsys.readouterr()
        assert "1 of 2 images labelled" in captured.out
        assert captured.err.count("skipped") == 1
        assert "a.tif" in captured.err
        assert (tmp_path / "out" / "b_labels.tif").is_file()
        assert not (tmp_path / "out" / "a_labels.tif").exists()

    def test_a_full_disk_says_how_to_go_on(self, tiny_run, tmp_path, monkeypatch, capsys, small_records):
        scene_of(tmp_path / "scene.tif")
        monkeypatch.setattr("fcn.tools.predict.rasters.SECTION", 64)
        calls, sync = [], os.fsync

        def full(descriptor):
            calls.append(descriptor)
            if len(calls) > 8:
                raise OSError(28, "No space left on device")
            sync(descriptor)

        monkeypatch.setattr(spool_module.os, "fsync", full)
        out = tmp_path / "out"
        assert run(words(tiny_run, tmp_path / "scene.tif", out, "inference=stream")) == 1
        assert f"the disk is full; free some space there or choose another folder; fcn predict resume={out}" in capsys.readouterr().err
        monkeypatch.setattr(spool_module.os, "fsync", sync)
        assert yaml.safe_load((out / "config.yaml").read_text())["inference"]["memory"] > 0  # for the same bands, whatever is free later
        assert run(["predict", f"resume={out}", "device=cpu"]) == 0
        assert (out / "scene_labels.tif").exists()
        assert not list(out.glob("*.rows*"))


def test_a_run_does_not_go_on_with_another_source_of_a_vrt(tiny_run, tmp_path, monkeypatch, capsys, small_records):
    scene_of(tmp_path / "source.tif")
    with rasterio.open(tmp_path / "source.tif") as scene:
        pytest.importorskip("rasterio.shutil").copy(scene, tmp_path / "scene.vrt", driver="VRT")
    monkeypatch.setattr("fcn.tools.predict.rasters.SECTION", 64)
    calls, sync = [], os.fsync

    def cut(descriptor):
        calls.append(descriptor)
        if len(calls) > 8:
            raise KeyboardInterrupt
        sync(descriptor)

    monkeypatch.setattr(spool_module.os, "fsync", cut)
    out = tmp_path / "out"
    assert run(words(tiny_run, tmp_path / "scene.vrt", out, "inference=stream", "overlay=none")) != 0
    monkeypatch.setattr(spool_module.os, "fsync", sync)
    assert list(out.glob("*.rows"))
    scene_of(tmp_path / "source.tif", seed=1)
    assert run(["predict", f"resume={out}", "device=cpu"]) == 1
    assert "holds finished rows, but the image has changed since" in capsys.readouterr().err


def test_from_python_to_a_file(tiny_run, tmp_path):
    values = scene_of(tmp_path / "scene.tif")
    model = fcn.load(tiny_run / "best.pt")
    with fcn.open_raster(tmp_path / "scene.tif") as scene:
        path = fcn.predict(model, scene, out=tmp_path / "labels.tif", confidence=True)
    assert path == tmp_path / "labels.tif"
    labels = fcn.predict(model, values.transpose(1, 2, 0))
    with rasterio.open(path) as file:
        assert (file.read(1) == labels).all()
        assert file.crs.to_epsg() == 32633
    names = {"scene.tif", "labels.tif", "labels.tif.aux.xml", "labels_confidence.tif"}
    assert {each.name for each in tmp_path.iterdir()} == names
    fcn.predict(model, tmp_path / "scene.tif", out=tmp_path / "labels.png")
    assert (np.asarray(PIL.Image.open(tmp_path / "labels.png")) == labels).all()
    with pytest.raises(fcn.UserError, match=r"has the ending '.jpg'; a label map is written as \.tif"):
        fcn.predict(model, tmp_path / "scene.tif", out=tmp_path / "labels.jpg")


class TestTwoProcesses:
    @pytest.mark.parametrize("together", TWO_PROCESSES)
    def test_they_share_a_scene(self, together, tiny_run, tmp_path):
        scene_of(tmp_path / "scene.tif", 301, 97)
        more = ("inference=stream", "inference.band=16", "overlay=none", "confidence=true")
        assert run(words(tiny_run, tmp_path / "scene.tif", tmp_path / "one", *more)) == 0
        well, said = together(tmp_path, words(tiny_run, tmp_path / "scene.tif", tmp_path / "two", *more))
        assert well, said
        assert "1 of 1 images labelled" in said
        labels = [tifffile.imread(tmp_path / each / "scene_labels.tif") for each in ("one", "two")]
        assert (labels[0] == labels[1]).mean() > 0.9995
        assert not list((tmp_path / "two").glob("*.rows*"))

    def test_one_goes_on_where_two_were_cut(self, tiny_run, tmp_path):
        scene_of(tmp_path / "scene.tif", 301, 97)
        more = ("inference=stream", "inference.band=16", "overlay=none")
        assert run(words(tiny_run, tmp_path / "scene.tif", tmp_path / "one", *more)) == 0
        assert run(words(tiny_run, tmp_path / "scene.tif", tmp_path / "two", *more)) == 0
        image = Image("", {"labels": "scene_labels.tif"})
        (tmp_path / "two" / "scene_labels.tif").unlink()
        with fcn.open_raster(tmp_path / "scene.tif") as scene:  # as the second of two leaves it
            shape = spool_module.Shape(301, 97, source=state_of(scene))
            part = image.shared(tmp_path / "two", 2)[1]
            blocks = label_blocks(fcn.load(tiny_run / "best.pt"), scene, strategy="stream", band=16, first_row=150, end_row=301)
            with spool_module.Spool(tmp_path / "two" / part.rows, shape, (150, 301)) as spool:
                for block in blocks:
                    spool.write(block.top, block.left, block.labels.numpy())
        assert run(["predict", f"resume={tmp_path / 'two'}", "device=cpu"]) == 0
        labels = [tifffile.imread(tmp_path / each / "scene_labels.tif") for each in ("one", "two")]
        assert (labels[0] == labels[1]).mean() > 0.9995
        assert not list((tmp_path / "two").glob("*.rows*"))


CHILD = """
import sys
from fcn.rasters import spool
spool.AT_ONCE = int(sys.argv[1])
from fcn.tools.predict import rasters
rasters.SECTION = 128
from fcn.cli.main import run
sys.exit(run(sys.argv[2:]))
"""


def killed(calls, delay, at_once):
    """A run of its own process that is killed after so many seconds; whether it ended before."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(at_once), *calls], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return process.wait(delay) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


@pytest.mark.parametrize("at", [5, 9, 13])
def test_killed_at_a_file_operation_it_ends_as_one_that_was_not(at, tiny_run, tmp_path, monkeypatch, small_records):
    """As by a kill: what comes after the sync of a record, or in the middle of it, is not done."""
    scene_of(tmp_path / "scene.tif", 307, 151)
    monkeypatch.setattr("fcn.tools.predict.rasters.SECTION", 64)
    more = ("inference=stream", "inference.band=16", "confidence=true", "overlay=none")
    assert run(words(tiny_run, tmp_path / "scene.tif", tmp_path / "whole", *more)) == 0
    out, calls, sync = tmp_path / "cut", [], os.fsync

    class Killed(BaseException):
        pass

    def dying(descriptor):
        calls.append(descriptor)
        if len(calls) >= at:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - at)  # part of it is not on the disk
            raise Killed
        sync(descriptor)

    monkeypatch.setattr(spool_module.os, "fsync", dying)
    with pytest.raises(Killed):
        run(words(tiny_run, tmp_path / "scene.tif", out, *more))
    monkeypatch.setattr(spool_module.os, "fsync", sync)
    assert run(["predict", f"resume={out}", "device=cpu"]) == 0
    for name in ("scene_labels.tif", "scene_confidence.tif"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_the_page_on_large_images_runs(tiny_run, tmp_path, monkeypatch):
    """Every call of fcn and of Python on it, with small scenes."""
    page = (Path(__file__).parents[3] / "docs" / "large-images.md").read_text()
    (tmp_path / "RUN").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    scene_of("scene.tif")
    with rasterio.open("scene.tif") as scene, rasterio.open("sentinel.tif", "w", **{**scene.profile, "count": 5}) as file:
        file.write(scene.read([1, 2, 3, 1, 2]))
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    calls = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("fcn predict")]
    assert len(calls) == 6
    for number, call in enumerate(calls):
        more = [] if any(word.startswith(("output=", "resume=")) for word in call) else [f"output=out{number}"]
        assert run([*call, *more, "device=cpu"]) == 0, call
    first, second = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(first, "large-images.md", "exec"), {})
    assert Path("labels.tif").is_file()
    compile(second, "large-images.md", "exec")


@pytest.mark.slow
def test_fifty_kills(tiny_run, tmp_path):
    scene_of(tmp_path / "scene.tif", 1501, 403)
    more = ("inference=stream", "inference.band=16", "overlay=none", "polygons=true")
    start = time.monotonic()
    assert killed(words(tiny_run, tmp_path / "scene.tif", tmp_path / "whole", *more), 300, 9000)
    seconds = time.monotonic() - start
    rng = np.random.default_rng(0)
    kills = ended = 0
    while kills < 50:
        out = tmp_path / "cut"
        shutil.rmtree(out, ignore_errors=True)
        calls = words(tiny_run, tmp_path / "scene.tif", out, *more)
        while not (done := killed(calls, float(rng.uniform(0.3, 1.05)) * seconds, 9000)):
            kills += 1
            if (out / "predict.json").exists():
                calls = ["predict", f"resume={out}", "device=cpu"]
            else:
                shutil.rmtree(out, ignore_errors=True)
        ended += done
        for name in ("scene_labels.tif",):
            assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
        assert json.loads((out / "predict.json").read_text())["files"]
        assert not list(out.glob("*.rows*"))
    assert ended > 0
