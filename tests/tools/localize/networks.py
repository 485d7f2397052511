"""Small classifiers, and a module for ``classifier=tests.tools.localize.networks:build``."""

import torch
from torch import nn

WINDOW = 24  # pixels


def unpadded(*, flat: bool = False) -> nn.Module:
    """Of windows of 24 pixels, without padding: a cell every 4 pixels, 4 x 4 cells in a window. flat: its head takes all cells at once."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 8, 5, 2), nn.ReLU(), nn.Conv2d(8, 8, 4, 2), nn.ReLU()]
    head = [nn.Flatten(), nn.Linear(8 * 16, 5)] if flat else [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)]
    return nn.Sequential(*body, *head).eval()


def padded() -> nn.Module:
    """The same with zeros round it."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()


def brightness() -> nn.Module:
    """Class 1 where it is bright, class 0 where it is dark: the mean of 4 x 4 pixels against a threshold."""
    network = nn.Sequential(nn.AvgPool2d(4), nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2)).eval()
    with torch.no_grad():
        network[1].weight.zero_()[1] = 4.0
        network[1].bias.copy_(torch.tensor([6.0, 0.0]))
        network[4].weight.copy_(torch.eye(2))
        network[4].bias.zero_()
    return network


def build() -> nn.Module:
    return brightness()
