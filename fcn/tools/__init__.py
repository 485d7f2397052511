"""The tools: one folder per command, with its settings (``settings.py``), its run (``run.py``) and its report.

``run(config)`` takes the command's settings and returns an exit status. Heavy imports stand inside the functions: ``fcn --help`` and a
wrong call are answered without them.
"""

from fcn.tools.benchmark.settings import BenchmarkConfig
from fcn.tools.ceiling.settings import CeilingConfig
from fcn.tools.compare.settings import CompareConfig
from fcn.tools.data.settings import DataCommandConfig
from fcn.tools.demo.settings import DemoConfig
from fcn.tools.evaluate.settings import EvaluateConfig
from fcn.tools.inspect.settings import InspectConfig
from fcn.tools.localize.settings import LocalizeConfig
from fcn.tools.predict.settings import PredictConfig
from fcn.tools.schema import Checked
from fcn.tools.train.settings import TrainConfig

COMMANDS: dict[str, type[Checked]] = {
    "data": DataCommandConfig,
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "localize": LocalizeConfig,
    "inspect": InspectConfig,
    "benchmark": BenchmarkConfig,
    "compare": CompareConfig,
    "ceiling": CeilingConfig,
    "demo": DemoConfig,
}
