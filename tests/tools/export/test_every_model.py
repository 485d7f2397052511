"""Models, up-samplers and backbones as ONNX files: the scores at sizes that the export did not verify, down to a pixel."""

import numpy as np
import pytest
import torch
from torch import nn

import fcn

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = pytest.mark.slow

SIZES = ((1, 1), (2, 3), (31, 33), (64, 96), (77, 300), (129, 65))
PARTS = [
    ("fcn32s", "googlenet", "nearest", {}),
    ("fcn16s", "tf_efficientnet_lite0", "pixelshuffle", {}),
    ("fcn8s", "vgg11", "transposed", {}),  # pools that round up
    ("fcn4s", "convnext_tiny", "bilinear", {}),
    ("fcn2s", "resnet18", "carafe", {}),
    ("fcn", "resnet18", "transposed", {"output_stride": 8}),
    ("deeplabv3", "resnet18", "bilinear", {"output_stride": 16}),
    ("deeplabv3plus", "mobilenet_v2", "pixelshuffle", {}),
    ("unet", "resnet18", "carafe", {}),
    ("unet", "efficientnet-b0", "nearest", {}),
    ("lraspp", "mobilenet_v3_small", "bilinear", {}),
    ("smp", "resnet18", "bilinear", {"arch": "FPN"}),
]


def lively(model):
    """Random scores where an untrained network gives zeros."""
    torch.manual_seed(1)
    for parameter in model.decoder.parameters():
        if parameter.dim() > 1 and not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize(("name", "backbone", "upsample", "options"), PARTS, ids=lambda part: part if isinstance(part, str) else "")
def test_a_file_gives_the_scores_of_the_model(name, backbone, upsample, options, tmp_path):
    torch.manual_seed(0)
    model = lively(fcn.create_model(name, backbone=backbone, upsample=upsample, classes=["a", "b", "c", "d"], **options))
    file = fcn.export(model, tmp_path / "out").file
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for height, width in SIZES:
        images = torch.from_numpy(np.random.default_rng(height).integers(0, 256, (1, 3, height, width), dtype=np.uint8))
        with torch.no_grad():
            expected = model(model.normalize(images))
        given = torch.from_numpy(session.run(None, {"images": images.float().numpy()})[0])
        span = float(expected.max() - expected.min())
        assert given.shape == expected.shape
        assert float((given - expected).abs().max()) <= 1e-4 * max(span, 1e-3), (height, width)


def test_padding_by_the_size_of_the_image_is_refused_by_name_and_exported_for_one_size(tmp_path):
    torch.manual_seed(0)
    model = lively(fcn.create_model("fcn8s", backbone="tf_efficientnet_lite0", output_stride=16, classes=["a", "b"]))
    with pytest.raises(fcn.UserError, match=r"the padding of layer '\S*conv_stem' depends on the size of the image; .*tile=512"):
        fcn.export(model, tmp_path / "out")
    found = fcn.export(model, tmp_path / "out", tile=96)
    session = onnxruntime.InferenceSession(str(found.file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[2:] == [96, 96]
    image = np.random.default_rng(0).integers(0, 256, (96, 200, 3), dtype=np.uint8)
    loaded = fcn.load(found.file)
    with pytest.raises(fcn.UserError, match=r"takes images of 96x96 pixels alone, .* 200x96; use strategy='windows' with size=96"):
        fcn.predict(loaded, image)
    labels = fcn.predict(loaded, image, strategy="windows", size=96)
    assert (labels == fcn.predict(model, image, strategy="windows", size=96)).mean() > 0.999


def test_a_size_that_became_a_number_is_refused(tmp_path):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 3, padding=1)

        def forward(self, images):
            return self.conv(images) * torch.ones(int(images.shape[-1])).sum() / len(range(images.shape[-1]))

    model = fcn.wrap(Fixed(), mean=0.5, std=0.2, classes=["a", "b"])
    with pytest.raises(fcn.UserError, match=r"makes a number of the width of the images"):
        fcn.export(model, tmp_path / "out")
