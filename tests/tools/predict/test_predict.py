"""``fcn predict``: which files it labels, where the results go, and going on where it was cut."""

import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image

from fcn.cli.main import run
from fcn.inference import at_once
from fcn.inference.strategies import Strategy
from fcn.tools.predict import labelling
from fcn.tools.predict.inputs import input_images, passed_over
from tests.two_processes import TWO_PROCESSES, by_torchrun, forked, torchrun


def picture(path, seed=0, size=(12, 9)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def results(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*g"))}  # png and jpg


@pytest.fixture
def photos(tmp_path):
    """Pictures in sub-folders, two of one name."""
    for index, name in enumerate(("a/x.png", "b/x.png", "b/x.jpg", "b/c/y.png", "z.png")):
        picture(tmp_path / "photos" / name, index)
    return tmp_path / "photos"


class TestInputs:
    def test_hidden_files_are_left_out_and_others_named(self, tmp_path, caplog):
        for name in ("a.jpg", "b.PNG", "._a.jpg", ".DS_Store", "notes.txt", "x.npy", "y.npy", "z", "more/c.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        with caplog.at_level("INFO"):
            root, found = input_images(str(tmp_path))
        assert (root, [path.name for path in found]) == (tmp_path, ["a.jpg", "b.PNG"])
        (message,) = [record.getMessage() for record in caplog.records]
        assert message.endswith("2 images; passed over: 2 .npy, 1 .txt, 1 folder, 1 without suffix (more, notes.txt, x.npy, ...)")
        assert input_images(str(tmp_path / "._a.jpg"))[1] == [tmp_path / "._a.jpg"]  # named

    def test_nothing_passed_over_is_nothing_said(self):
        assert passed_over([]) == ""

    def test_a_glob_that_leaves_the_suffix_open_takes_images(self, photos, caplog):
        (photos / "b" / "notes.txt").touch()
        with caplog.at_level("INFO"):
            root, found = input_images(f"{photos}/**/*")
        assert root == photos
        assert [path.relative_to(photos).as_posix() for path in found] == ["a/x.png", "b/c/y.png", "b/x.jpg", "b/x.png", "z.png"]
        assert "passed over: 1 .txt (notes.txt)" in caplog.text

    def test_a_folder_that_is_there_has_no_wildcards(self, tmp_path):
        picture(tmp_path / "a[1]" / "b*" / "x.png")
        root, found = input_images(f"{tmp_path}/a[1]/b*/*.png")
        assert (root, found) == (tmp_path / "a[1]" / "b*", [tmp_path / "a[1]" / "b*" / "x.png"])


class TestPredict:
    def words(self, tiny_run, photos):
        return [f"checkpoint={tiny_run / 'best.pt'}", f"input={photos}/**/*.*", "device=cpu", "confidence=true"]

    def test_sub_folders_are_kept_and_a_list_says_which_is_which(self, tiny_run, photos, tmp_path):
        out = tmp_path / "out"
        assert run(["predict", *self.words(tiny_run, photos), f"output={out}"]) == 0
        names = {"a/x", "b/x_png", "b/x_jpg", "b/c/y", "z"}
        assert set(results(out)) == {f"{name}{ending}" for name in names for ending in (".png", "_overlay.jpg", "_confidence.png")}
        files = json.loads((out / "predict.json").read_text())["files"]
        assert {entry["image"]: entry["labels"] for entry in files} == {
            str(photos / image): labels
            for image, labels in (("a/x.png", "a/x.png"), ("b/x.png", "b/x_png.png"), ("b/x.jpg", "b/x_jpg.png"))
        } | {str(photos / name): name for name in ("b/c/y.png", "z.png")}
        assert [entry["overlay"] for entry in files if entry["labels"] == "b/x_jpg.png"] == ["b/x_jpg_overlay.jpg"]

    def test_small_pictures_are_labelled_at_once_and_alike(self, tiny_run, photos, tmp_path, monkeypatch, capsys):
        """Two pictures that wait for each other are labelled by two threads; the files are those of one after the other."""
        (photos / "broken.png").write_bytes(b"no picture")
        picture(photos / "large.png", size=(40, 40))
        monkeypatch.setattr(at_once, "SMALL", 1000)
        for threads, out in ((1, "one"), (2, "two")):
            monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
            monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
            together, label, sizes = Barrier(2, timeout=20), Strategy.__call__, []

            def labelled(*given, threads=threads, together=together, label=label, sizes=sizes, **words):
                if threading.current_thread() is not threading.main_thread() and len(sizes) < 4:
                    together.wait()
                    sizes.append(given[2].shape[-1])
                return label(*given, **words)

            monkeypatch.setattr(Strategy, "__call__", labelled)
            assert run(["predict", *self.words(tiny_run, photos), f"output={tmp_path / out}"]) == 1
            monkeypatch.setattr(Strategy, "__call__", label)
            assert len(sizes) == (4 if threads == 2 else 0)
            assert "6 of 7 images labelled" in capsys.readouterr().out
        assert results(tmp_path / "one") == results(tmp_path / "two")

    def test_a_run_that_was_cut_goes_on_and_ends_as_one_that_was_not(self, tiny_run, photos, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        relative = [word.replace(f"{tmp_path}/", "") for word in self.words(tiny_run, photos)]
        assert run(["predict", *self.words(tiny_run, photos), "output=whole"]) == 0
        assert run(["predict", *relative, "output=cut"]) == 0
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        for name in ("b/c/y_overlay.jpg", "z.png", "z_overlay.jpg"):  # as killed after the labels of one, and before another
            (cut / name).unlink()
        (cut / "b" / "c" / ".y_overlay.0123abcd.part.jpg").write_bytes(b"half")
        kept = (cut / "a" / "x.png").stat().st_mtime_ns
        assert run(["predict", *relative, "output=cut"]) == 1
        assert "fcn predict resume=cut goes on with the run in it" in capsys.readouterr().err
        monkeypatch.chdir("/")
        assert run(["predict", f"resume={cut}", "device=cpu"]) == 0
        assert "3 of 5 images are labelled already" in (captured := capsys.readouterr()).err
        assert "5 of 5 images labelled" in captured.out
        assert results(cut) == results(whole)
        assert (cut / "a" / "x.png").stat().st_mtime_ns == kept

    def test_it_goes_on_with_the_same_settings_and_checkpoint_only(self, tiny_run, photos, tmp_path, capsys):
        shutil.copy(tiny_run / "best.pt", tmp_path / "best.pt")
        out = tmp_path / "out"
        assert run(["predict", f"checkpoint={tmp_path / 'best.pt'}", f"input={photos}", "device=cpu", f"output={out}"]) == 0
        assert run(["predict", f"resume={out}", "alpha=0.1"]) == 2
        assert "alpha=0.1 cannot be given with resume" in capsys.readouterr().err
        assert run(["train", f"resume={out}"]) == 2
        assert f"is an output folder of fcn predict; fcn predict resume={out} goes on with it" in capsys.readouterr().err
        assert run(["predict", f"resume={tiny_run}"]) == 2
        assert "is an output folder of fcn train" in capsys.readouterr().err
        shutil.copy(tiny_run / "last.pt", tmp_path / "best.pt")
        assert run(["predict", f"resume={out}", "device=cpu"]) == 1
        assert "best.pt has changed since; start again with another output=" in capsys.readouterr().err
        for name, before, after in (("predict.json", "z_overlay", "y_overlay"), ("config.yaml", "alpha: 0.5", "alpha: 0.4")):
            kept = (out / name).read_text()
            (out / name).write_text(kept.replace(before, after))
            assert (out / name).read_text() != kept
            assert run(["predict", f"resume={out}", "device=cpu"]) == 1
            assert f"{out / 'config.yaml'} is not as it was written; start again with another output=" in capsys.readouterr().err
            (out / name).write_text(kept)
        (out / "predict.json").write_text("{")
        assert run(["predict", f"resume={out}", "device=cpu"]) == 1
        assert "predict.json is missing or damaged" in capsys.readouterr().err


class TestOverlays:
    @pytest.mark.parametrize(("kind", "suffix"), [("jpg", ".jpg"), ("png", ".png"), ("none", None)])
    def test_each_kind(self, kind, suffix, tiny_run, tmp_path):
        picture(tmp_path / "a.png")
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'a.png'}", "device=cpu"]
        assert run(["predict", *words, f"overlay={kind}", f"output={tmp_path / 'out'}"]) == 0
        overlay = {f"a_overlay{suffix}"} if suffix else set()
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "config.yaml", "predict.json"} | overlay
        (entry,) = json.loads((tmp_path / "out" / "predict.json").read_text())["files"]
        assert {entry.get("overlay")} == (overlay or {None})
        if suffix:
            with Image.open(tmp_path / "out" / f"a_overlay{suffix}") as shown:
                assert shown.format == {".jpg": "JPEG", ".png": "PNG"}[suffix]

    def test_a_wrong_kind_is_answered_with_the_right_ones(self, capsys):
        assert run(["predict", "checkpoint=x.pt", "input=x.png", "overlay=gif"]) == 2
        assert capsys.readouterr().err == "fcn: overlay=gif is not known; allowed: jpg, none, png\n"


class TestManyImages:
    """More of them than are read ahead."""

    @pytest.fixture
    def many(self, tmp_path):
        for index in range(14):
            picture(tmp_path / "many" / f"{index:02}.png", index, size=(12 + index % 2, 9))
        for index in (3, 4, 9):
            (tmp_path / "many" / f"{index:02}.png").write_bytes(b"no picture")
        return tmp_path / "many"

    def test_broken_ones_are_named_in_order_and_cost_no_other(self, tiny_run, many, tmp_path, capsys):
        out = tmp_path / "out"
        assert run(["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={many}", "device=cpu", f"output={out}"]) == 1
        said = capsys.readouterr()
        assert re.findall(r"^skipped: \S+/(\d\d)\.png cannot be decoded", said.err, re.M) == ["03", "04", "09"]
        assert re.fullmatch(rf"11 of 14 images labelled in {out}, \S+ images/s\n", said.out)
        assert {path.stem for path in out.glob("??.png")} == {f"{index:02}" for index in range(14)} - {"03", "04", "09"}

    def test_a_full_disk_ends_the_run_and_it_goes_on(self, tiny_run, many, tmp_path, capsys, monkeypatch):
        out, save = tmp_path / "out", labelling.save_overlay

        def full(image, labels, label_set, path, **options):
            if path.name == "07_overlay.jpg":
                raise OSError(f"cannot write {path}: the disk is full; free some space there or choose another folder")
            save(image, labels, label_set, path, **options)

        monkeypatch.setattr(labelling, "save_overlay", full)
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={many}", "device=cpu", f"output={out}"]
        assert run(["predict", *words]) == 1
        assert "07_overlay.jpg: the disk is full" in capsys.readouterr().err
        assert not (out / "13.png").exists()
        monkeypatch.undo()
        assert run(["predict", f"resume={out}", "device=cpu"]) == 1
        assert "11 of 14 images labelled" in capsys.readouterr().out
        assert len(list(out.glob("*.*g"))) == 22


class TestTwoProcesses:
    @pytest.mark.parametrize("together", TWO_PROCESSES)
    def test_every_image_once_and_one_summary(self, together, tiny_run, photos, tmp_path):
        for index in range(12):
            picture(photos / f"more{index}.png", index)
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={photos}/**/*.*", "device=cpu"]
        (photos / "broken.png").write_bytes(b"no picture")
        well, said = together(tmp_path, ["predict", *words, f"output={tmp_path / 'two'}"])
        assert not well  # since one could not be read
        assert len(re.findall(r"^17 of 18 images labelled in ", said, re.M)) == 1
        assert len(re.findall(r"^skipped", said, re.M)) == 1
        assert run(["predict", *words, f"output={tmp_path / 'one'}"]) == 1
        assert results(tmp_path / "two") == results(tmp_path / "one")
        assert not list((tmp_path / "two").rglob(".*"))

    @pytest.mark.slow
    @pytest.mark.parametrize("together", [forked, by_torchrun])
    def test_what_fails_in_one_ends_both_with_one_sentence(self, together, tiny_run, photos, tmp_path):
        words = [f"checkpoint={tmp_path / 'none.pt'}", f"input={photos}", "device=cpu", f"output={tmp_path / 'two'}"]
        well, said = together(tmp_path, ["predict", *words])
        assert not well
        assert len(re.findall(r"^fcn.*: ", said, re.M)) == 1, said
        assert "none.pt" in said
        well, said = together(tmp_path, ["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'empty'}", "device=cpu"])
        assert not well
        assert re.findall(r"^fcn.*: ", said, re.M) == ["fcn: "], said

    @pytest.mark.slow
    def test_both_killed_in_the_middle_go_on(self, tiny_run, photos, tmp_path):
        for index in range(200):
            picture(photos / f"more{index}.png", index, size=(120, 90))
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={photos}/**/*.*", "device=cpu"]
        out = tmp_path / "two"
        running = subprocess.Popen(torchrun(["predict", *words, f"output={out}"]), start_new_session=True, stderr=subprocess.DEVNULL)
        while len(list(out.rglob("*_overlay.jpg"))) < 20:
            assert running.poll() is None
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        before = results(out)
        well, said = by_torchrun(tmp_path, ["predict", f"resume={out}", "device=cpu"])
        assert well, said
        assert len(before) < 410
        assert len(re.findall(r"^205 of 205 images labelled in ", said, re.M)) == 1
        assert run(["predict", *words, f"output={tmp_path / 'one'}"]) == 0
        assert results(out) == results(tmp_path / "one")
        assert {name: results(out)[name] for name in before} == before
        assert not list(out.rglob(".*"))


class TestOutputs:
    def test_what_was_left_half_written_counts_for_nothing(self, tiny_run, tmp_path):
        picture(tmp_path / "a.png")
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / ".config.0123abcd.part.yaml").touch()
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'a.png'}", "device=cpu"]
        assert run(["predict", *words, f"output={tmp_path / 'out'}"]) == 0
        assert not list((tmp_path / "out").glob(".*"))

    def test_messages_have_a_line_of_their_own_beside_a_progress_bar(self, tiny_run, photos, tmp_path, capsys):
        (photos / "broken.png").write_bytes(b"no picture")
        assert run(["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={photos}", "device=cpu", f"output={tmp_path / 'out'}"]) == 1
        lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
        assert any(line.startswith("skipped") and "broken.png" in line for line in lines)
