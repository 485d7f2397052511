"""What can be set, read from the files under ``conf/`` without Hydra, and the help that is made of it."""

import re
from pathlib import Path

from fcn import config as schema

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


def conf_folder() -> Path:
    """The configuration files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def group_names() -> list[str]:
    return sorted(path.name for path in conf_folder().iterdir() if path.is_dir())


def group_options(group: str) -> list[str]:
    return [path.stem for path in part_files(group)]


def chosen_parts(command: str) -> dict[str, str]:
    """The parts of a command and the word that each has by default."""
    text = (conf_folder() / f"{command}.yaml").read_text().split("_self_\n", 1)[0]
    return dict(re.findall(r"- (\w+): (\S+)", text))


def part_files(group: str) -> list[Path]:
    return sorted((conf_folder() / group).glob("*.yaml"))


def part_settings(path: Path) -> str:
    keys = re.findall(r"^(\w+):", path.read_text(), flags=re.MULTILINE)
    return ", ".join(key for key in keys if key not in ("defaults", "name"))


def general_help() -> str:
    lines = ["fcn: fully convolutional segmentation networks, from classifiers to label maps", "", "fcn COMMAND [key=value ...]", ""]
    lines += [f"  {name:<10}{SUMMARIES[name]}" for name in schema.COMMANDS]
    return "\n".join([*lines, "", "fcn COMMAND --help shows examples and every setting."])


def command_help(command: str) -> str:
    text = (conf_folder() / f"{command}.yaml").read_text()
    settings = text.split("_self_\n", 1)[1].strip()
    groups = chosen_parts(command)
    lines = [f"fcn {command}: {SUMMARIES[command]}", "", EXAMPLES[command], "", "Parts, chosen by one word each:"]
    for name, word in groups.items():
        more = " ... and every encoder of smp and timm by name" if name == "backbone" else ""
        lines.append(f"  {name + '=' + word:<20} {' | '.join(group_options(name))}{more}")
    lines += ["", "Settings and their defaults:", *(f"  {line}".rstrip() for line in settings.splitlines())]
    lines += ["", "Settings of a part, written PART.SETTING=VALUE:"]
    for name in groups:
        shared: dict[str, list[str]] = {}
        for path in part_files(name):
            shared.setdefault(part_settings(path), []).append(path.stem)
        lines += [f"  {name}.  {settings}  ({', '.join(words)})" for settings, words in shared.items() if settings]
    return "\n".join(lines)
