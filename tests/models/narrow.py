"""VGG with few channels: its layers and their names, and not its 130 million weights."""

from torch import Tensor, nn


class NarrowVGG(nn.Module):
    """As torchvision's VGG: 224 x 224 pixels become 7 x 7 cells, which the first linear layer reads."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*(layer for _ in range(5) for layer in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))))
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        layers = (nn.Linear(3 * 7 * 7, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 9), nn.ReLU(), nn.Dropout(), nn.Linear(9, 5))
        self.classifier = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(images)).flatten(1))
