"""The settings of ``fcn train``."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from fcn.core.settings import REQUIRED, choice
from fcn.tools.schema import PartConfig
from fcn.tools.settings import SEEDS, TrainingConfig
from fcn.training.trackers import TRACKERS


@dataclass
class TrainConfig(TrainingConfig):
    """``fcn train``.

    seed: seed of every random choice
    sync_batchnorm: compute batch norm over the batches of all GPUs
    tracker: experiment tracker that also gets the records: tensorboard, wandb, mlflow or trackio; null: none
    """

    SUMMARY: ClassVar[str] = "trains a network; without any settings: on the built-in pictures"
    EXAMPLES: ClassVar[str] = """fcn train                                             the built-in pictures, a few minutes on any machine
fcn train data=camvid data.root=DIR model=fcn8s backbone=resnet34 upsample=pixelshuffle
fcn train data=voc2012aug data.download=true backbone=vgg16 backbone.weights=imagenet
fcn train resume=outputs/train/2026-01-31_12-00-00      goes on where a run was cut
fcn train -m upsample=transposed,bilinear 'seed=range(0,3)'   six runs
torchrun --nproc-per-node 4 -m fcn train data=voc2012   four processes"""

    upsample: PartConfig = REQUIRED
    seed: Annotated[int, SEEDS] = 0
    sync_batchnorm: bool = True
    tracker: Annotated[str | None, choice(*TRACKERS)] = None
