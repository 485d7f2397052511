"""The help of the command line: every setting with its default and its line, from where it is declared."""

import inspect
from collections.abc import Iterator
from dataclasses import MISSING, fields
from textwrap import wrap
from typing import Any

from fcn import config as schema
from fcn.config.commands import AugmentConfig
from fcn.config.parts import loss_schema
from fcn.core.conf import default_parts
from fcn.core.registry import find, list_parts
from fcn.core.settings import REQUIRED, Setting, help_lines

EXAMPLES = {
    "train": """fcn train                                             the built-in pictures, a few minutes on any machine
fcn train data=camvid data.root=DIR model=fcn8s backbone=resnet34 upsample=pixelshuffle
fcn train data=voc2012aug data.download=true backbone=vgg16 backbone.weights=imagenet
fcn train resume=outputs/train/2026-01-31_12-00-00      goes on where a run was cut
fcn train -m upsample=transposed,bilinear 'seed=range(0,3)'   six runs
torchrun --nproc-per-node 4 -m fcn train data=voc2012   four processes""",
    "evaluate": """fcn evaluate checkpoint=RUN/best.pt                     the validation split it was trained with
fcn evaluate checkpoint=RUN/best.pt data=camvid data.root=DIR split=test
fcn evaluate checkpoint=RUN/best.pt submission=true""",
    "predict": """fcn predict checkpoint=RUN/best.pt input=photo.jpg output=labels
fcn predict checkpoint=RUN/best.pt input=photos/
fcn predict checkpoint=RUN/best.pt 'input=photos/**/*.png' inference=windows
fcn predict resume=outputs/predict/2026-01-31_12-00-00    goes on where a run was cut""",
    "benchmark": """fcn benchmark                                         a quick one, on any machine
fcn benchmark networks=[vgg16,vgg16_valid,resnet50] size=1024 strides=[32,16,8] dense_size=256 windows=32
fcn benchmark networks=[] image_sizes=[512,1024,2048,4096] window=1024 model=fcn8s backbone=mobilenet_v2
fcn benchmark device=cuda precision=bf16""",
    "inspect": """fcn inspect                                           the small classifier of the project, as a backbone
fcn inspect model=fcn8s backbone=vgg16                a whole segmentation network
fcn inspect backbone=resnet50 depth=2 ignore_global=true
fcn inspect classifier=torchvision/googlenet pool_as_window=true image=photo.jpg
fcn inspect layers='conv3 s2 p1, pool2 s2, conv3 d2'  layers in words: kind and size, s stride, p padding, d dilation, c channels
fcn inspect backbone=vgg16 format=csv picture=false > vgg16.csv""",
    "compare": """fcn compare                                           all methods, three seeds, on the built-in pictures
fcn compare quick=true
fcn compare data=camvid data.root=DIR model=fcn8s backbone=resnet18 upsample=[transposed,bilinear] seeds=[0,1,2,3,4]
fcn compare resume=outputs/compare/2026-01-31_12-00-00  goes on; what is finished is not repeated
fcn compare hydra/launcher=submitit_slurm hydra.launcher.partition=gpu   a job for each training""",
    "ceiling": """fcn ceiling data=camvid data.root=DIR splits=[train,val,test]
fcn ceiling data=voc2012 data.root=DIR strides=[32,8] method=majority""",
}
SUMMARIES = {
    "train": "trains a network; without any words: on the built-in pictures",
    "evaluate": "scores a checkpoint on a data set, per class",
    "predict": "labels every pixel of an image, a folder or a glob of images",
    "benchmark": "measures sliding windows against the unrolled network, and the ways to run large images: cost and agreement",
    "inspect": "prints a network's layers: sizes, receptive fields, parameters, multiply-adds",
    "compare": "trains a network with each up-sampler, all else equal, and reports quality and cost",
    "ceiling": "measures what the grid of an output stride costs on a data set, before anything is trained",
}


WIDTH = 120  # characters of a line
NAME = 30  # characters of a setting and its default, beside which its line stands
MANY = 24  # words of a kind that are listed one by one


def general_help() -> str:
    lines = ["fcn: fully convolutional segmentation networks, from classifiers to label maps", "", "fcn COMMAND [key=value ...]", ""]
    lines += [f"  {name:<10}{SUMMARIES[name]}" for name in schema.COMMANDS]
    return "\n".join([*lines, "", "fcn COMMAND --help shows examples and every setting."])


def command_help(command: str) -> str:
    """All that can be set in a command: its own settings, then those of its parts."""
    kinds = default_parts(command)
    lines = [f"fcn {command}: {SUMMARIES[command]}", "", EXAMPLES[command], "", "Settings:"]
    for name, default, text in command_settings(schema.COMMANDS[command]):
        lines += entry(name, default, text)
    if any(field.name == "augment" for field in fields(schema.COMMANDS[command])):
        lines += ["", "Training samples:"]
        for name, default, text in command_settings(AugmentConfig):
            lines += entry(f"augment.{name}", default, text)
        lines += ["", "The loss, a sum of terms, each times its weight:"]
        for setting in loss_schema().settings:
            lines += entry(f"loss.{setting.name}", setting.default, setting.help)
    for kind, word in kinds.items():
        lines += ["", f"{kind}={word}", *words_of(kind)]
        for setting, having in shared_settings(kind):
            of = "" if len(having) == len(list_parts(kind)) else f" [{shortened(having)}]"
            lines += entry(f"{kind}.{setting.name}", setting.default, f"{setting.help.removesuffix('.')}{of}")
    return "\n".join(lines)


def command_settings(declared: type) -> Iterator[tuple[str, Any, str]]:
    """Name, default and line of each setting of a command; its parts and sections are left out."""
    texts = {name: text for each in reversed(declared.__mro__) for name, text in help_lines(inspect.getdoc(each) or "").items()}
    for field in fields(declared):
        if field.name in texts:
            made = field.default_factory() if field.default_factory is not MISSING else field.default
            yield field.name, "from the data set" if made == REQUIRED and field.name in FROM_DATA else made, texts[field.name]


FROM_DATA = ("epochs", "batch_size", "crop_size", "scale", "brightness", "contrast", "saturation")  # recipes in conf/data


def words_of(kind: str) -> Iterator[str]:
    """The words of a kind, with what each is where they are few."""
    names = list_parts(kind)
    if len(names) > MANY:
        more = "; and every encoder of smp and timm by its name" if kind == "backbone" else ""
        yield from (f"    {line}" for line in wrap(f"{', '.join(names)}{more}", WIDTH - 4))
        return
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(find(kind, name).summary.replace("`", ""), []).append(name)
    for summary, group in alike.items():
        yield from entry(", ".join(group), None, summary, plain=True)


def shared_settings(kind: str) -> list[tuple[Setting, list[str]]]:
    """Each setting of a kind once, with the parts that have it so."""
    found: dict[str, tuple[Setting, list[str]]] = {}
    for name in list_parts(kind):
        for setting in find(kind, name).settings:
            key = f"{setting.name} {setting.default} {setting.help}"
            found.setdefault(key, (setting, []))[1].append(name)
    return sorted(found.values(), key=lambda item: -len(item[1]))


def shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:4])}, ... ({len(names)})"


def entry(name: str, default: Any, text: str, *, plain: bool = False) -> list[str]:
    """A setting and its default, beside them its line."""
    left = f"  {name}" if plain else f"  {name}={written(default)}"
    first, *rest = wrap(text, WIDTH - NAME - 2) or [""]
    lines = [f"{left:<{NAME}}  {first}".rstrip()] if len(left) <= NAME else [left, f"{'':<{NAME}}  {first}".rstrip()]
    return lines + [f"{'':<{NAME}}  {line}" for line in rest]


def written(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    return "..." if value == REQUIRED else str(value)
