"""The schema of every command: what can be set, of which type, within which range.

The command line composes ``conf/*.yaml`` into these classes; Python code may fill them by hand. A value out of range is refused when the
object is made (SettingError: the key, what was given, what is allowed). The schemas of parts are made of what they declare
(``fcn.core.settings``).
"""

from fcn.config.commands import BenchmarkConfig, CeilingConfig, CompareConfig, EvaluateConfig, InspectConfig, PredictConfig, TrainConfig

COMMANDS: dict[str, type] = {
    "train": TrainConfig,
    "evaluate": EvaluateConfig,
    "predict": PredictConfig,
    "inspect": InspectConfig,
    "benchmark": BenchmarkConfig,
    "compare": CompareConfig,
    "ceiling": CeilingConfig,
}
