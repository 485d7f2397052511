"""What the server of ``children.py`` imports before it is forked; one thread, since forks of several may wait for each other for ever."""

import accelerate  # noqa: F401
import hydra  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import safetensors.torch  # noqa: F401
import torch
import torchvision  # noqa: F401

import fcn.cli.main
import fcn.tools.evaluate.run
import fcn.tools.predict.run
import fcn.tools.train.fit
import fcn.tools.train.run
import fcn.training.train  # noqa: F401
import tests.faults.readers  # noqa: F401

torch.set_num_threads(1)
