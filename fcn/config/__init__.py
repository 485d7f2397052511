"""The schema of every command: what can be set, of which type, within which range.

The command line composes ``conf/*.yaml`` into these classes; Python code may fill them by hand. A value out of range is refused when the
object is made (ValueError: the key, what was given, what is allowed). A field without a default is filled by a file under ``conf/``.
"""

from fcn.config.commands import BenchmarkConfig, CeilingConfig, CompareConfig, EvaluateConfig, InspectConfig, PredictConfig, TrainConfig
from fcn.config.data import DownloadConfig, FilesConfig, FolderConfig, ShapesConfig
from fcn.config.inference import InferenceConfig, WindowsConfig
from fcn.config.models import (
    BackboneConfig,
    BilinearConfig,
    CarafeConfig,
    ClassifierConfig,
    ConvolvedConfig,
    DeepLabV3Config,
    DeepLabV3PlusConfig,
    FCNConfig,
    LRASPPConfig,
    PlainFCNConfig,
    SMPConfig,
    UNetConfig,
    UpsampleConfig,
    VGGConfig,
)
from fcn.config.training import AdamWConfig, PolyConfig, ScheduleConfig, SGDConfig

# The schemas of the groups' files: group -> name of the schema in a file's defaults list -> class.
SCHEMAS: dict[str, dict[str, type]] = {
    "model": {
        "fcn": FCNConfig,
        "plain_fcn": PlainFCNConfig,
        "deeplabv3": DeepLabV3Config,
        "deeplabv3plus": DeepLabV3PlusConfig,
        "unet": UNetConfig,
        "lraspp": LRASPPConfig,
        "smp": SMPConfig,
    },
    "backbone": {"plain": BackboneConfig, "classifier": ClassifierConfig, "vgg": VGGConfig},
    "upsample": {"plain": UpsampleConfig, "bilinear": BilinearConfig, "convolved": ConvolvedConfig, "carafe": CarafeConfig},
    "data": {"shapes": ShapesConfig, "files": FilesConfig, "download": DownloadConfig, "folder": FolderConfig},
    "optim": {"sgd": SGDConfig, "adamw": AdamWConfig},
    "schedule": {"plain": ScheduleConfig, "poly": PolyConfig},
    "inference": {"plain": InferenceConfig, "windows": WindowsConfig},
}


COMMANDS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "inspect": InspectConfig,
    "benchmark": BenchmarkConfig,
    "compare": CompareConfig,
    "ceiling": CeilingConfig,
}
