"""Where the time of a training step goes: its parts, the kinds of operations, and the speed of its convolutions beside the machine's own.

    python scripts/profile_step.py [model=deeplabv3plus] [backbone=tf_efficientnet_lite0] [crop=352] [batch=8] [steps=3]
        [classes=11] [loss=cross_entropy]

The step is that of ``fcn train`` on a CPU, by torch's profiler, which costs a few per cent itself. Samples are read and changed by other
processes, which is not counted. A depthwise convolution has one input channel a group. The machine's speed is that of 128-channel 3x3
convolutions whose maps stay in the cache.
"""

import sys
from collections import Counter
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from fcn.inference.scoring import ScoresOf
from fcn.models.segmenter import create_model
from fcn.tools.benchmark.sliding import multiply_adds
from fcn.tools.benchmark.strategies import convolutions, gflops
from fcn.tools.measure import measured
from fcn.tools.scripts import given_settings
from fcn.training.allocation import freed_memory_kept
from fcn.training.devices import create_accelerator, place
from fcn.training.losses import SegmentationLoss
from fcn.training.train import train_step

WORDS = {"model": "deeplabv3plus", "backbone": "tf_efficientnet_lite0", "crop": "352", "batch": "8", "steps": "3"}
WORDS |= {"classes": "11", "loss": "cross_entropy"}
WEIGHT = {"aten::convolution_backward": 2}  # the place of the weight among its arguments; 1 for all others
PASSES = 3  # a backward pass has two multiply-adds for each of the forward pass: for the input and for the weight
SHOWN = 0.02  # the least share of a kind of operation that is shown


def marked(module: nn.Module, name: str) -> None:
    """Let the profiler see the forward pass of ``module`` under that name."""
    inside: list[record_function] = []

    def begin(*_: Any) -> None:
        inside.append(record_function(name))
        inside[-1].__enter__()

    module.register_forward_pre_hook(begin)
    module.register_forward_hook(lambda *_: inside.pop().__exit__(None, None, None))


def part_of(key: str) -> str | None:
    """The part of a step that an event is the whole of."""
    if key.startswith("autograd::engine::evaluate_function"):
        return "backward"
    return "optimizer" if key.startswith("Optimizer.step#") else key if key in ("forward", "loss") else None


def kind_of(key: str, shapes: list[list[int]]) -> str:
    """What an operation is, in words; convolutions by their kernel."""
    if "conv" not in key or key.startswith("autograd"):
        return key
    way = "backward" if "backward" in key else "forward"
    place = WEIGHT.get(key, 1)
    weight = shapes[place] if place < len(shapes) else []
    if len(weight) != 4:
        return key
    kernel = "depthwise" if weight[1] == 1 else f"{weight[2]}x{weight[3]}"
    return f"{kernel} convolutions, {way}"


def main(words: list[str]) -> None:
    given = given_settings(words, WORDS)
    accelerator = create_accelerator("cpu")
    crop, batch, steps, classes = (int(given[word]) for word in ("crop", "batch", "steps", "classes"))
    torch.manual_seed(0)
    network = place(create_model(given["model"], backbone=given["backbone"], num_classes=classes).train(), accelerator)
    images = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    samples = [(images, torch.randint(0, classes, (batch, crop, crop), dtype=torch.uint8))]
    loss = SegmentationLoss(classes, dict.fromkeys(given["loss"].split(","), 1.0)).to(accelerator.device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0)
    dtype = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[accelerator.mixed_precision]

    with freed_memory_kept():
        train_step(network, optimizer, samples, loss, accelerator)
        marked(network, "forward")
        marked(loss, "loss")
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found, record_function("steps"):
            for _ in range(steps):
                train_step(network, optimizer, samples, loss, accelerator)

    parts, kinds = Counter[str](), Counter[str]()
    for event in found.key_averages(group_by_input_shape=True):
        part = part_of(event.key)
        if part is not None:
            parts[part] += event.cpu_time_total / 1e6 / steps
        kinds[kind_of(event.key, event.input_shapes)] += event.self_cpu_time_total / 1e6 / steps
    whole = sum(kinds.values())
    print(f"{given['model']} {given['backbone']}, crop {crop}, batch {batch}, {accelerator.mixed_precision}: {whole:.2f} s/step")
    for name, seconds in (*parts.items(), ("other", whole - parts.total())):
        print(f"{name:<40}{seconds:8.3f} s  {seconds / whole:4.0%}")
    print()
    for name, seconds in kinds.most_common():
        if seconds > SHOWN * whole:
            print(f"{name:<40}{seconds:8.3f} s  {seconds / whole:4.0%}")
    inside = sum(seconds for name, seconds in kinds.items() if "convolution" in name)
    operations = 2 * PASSES * batch * multiply_adds(ScoresOf(network), crop)
    reached = operations / 1e9 / inside
    peak = gflops(measured({"peak": (convolutions, ("cpu", dtype, True))}, turns=3, on_gpu=False)["peak"])
    assert peak is not None
    print(f"\nconvolutions: {reached:.0f} GFLOP/s, {reached / peak:.0%} of the machine's {peak:.0f}")


if __name__ == "__main__":
    main(sys.argv[1:])
