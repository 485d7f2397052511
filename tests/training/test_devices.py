"""Devices and formats: what the machine has not is refused, and depthwise convolutions stay in float32 where bf16 slows them down."""

import pytest
import torch
from torch import nn

import fcn
from fcn.training.devices import Float32Conv2d, create_accelerator, place


def test_what_the_machine_has_not_is_refused(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    for device in ("cuda", "mps"):
        with pytest.raises(ValueError, match=f"device={device}, but torch sees no .* here; use device=cpu"):
            create_accelerator(device)
    with pytest.raises(ValueError, match="precision='fp16' is for GPUs"):
        create_accelerator("cpu", "fp16")


@pytest.mark.parametrize("capable", [True, False])
def test_auto_is_bf16_where_the_cpu_computes_in_it(monkeypatch, capable):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": capable})
    assert create_accelerator("cpu", "auto").mixed_precision == ("bf16" if capable else "no")


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="precision='bf' is not allowed; it is one of auto, fp32, bf16, fp16"):
        create_accelerator("cpu", "bf")


def test_several_precisions_in_one_process():
    assert [create_accelerator("cpu", word).mixed_precision for word in ("bf16", "fp32", "bf16")] == ["bf16", "no", "bf16"]


def test_placing_changes_formats_and_neither_names_nor_values():
    network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, groups=4))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    x = torch.randn(1, 4, 9, 9)
    expected = network(x)
    accelerator = create_accelerator("cpu", "bf16")
    placed = place(network, accelerator)
    assert [type(layer) for layer in placed] == [nn.Conv2d, Float32Conv2d, nn.Conv2d]
    assert placed[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(value, before[name]) for name, value in placed.state_dict().items())
    with accelerator.autocast():
        assert placed[0](x).dtype == torch.bfloat16
        assert placed[:2](x).dtype == torch.float32
        torch.testing.assert_close(placed(x).float(), expected, rtol=0.05, atol=0.02)
    torch.testing.assert_close(placed(x), expected, rtol=1e-4, atol=1e-5)


def test_in_float32_nothing_is_changed():
    network = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))
    assert type(place(network, create_accelerator("cpu", "fp32"))[0]) is nn.Conv2d


def test_a_network_that_was_trained_in_bf16_is_streamed_as_before():
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.Conv2d(6, 2, 1))
    model = place(fcn.wrap(network, mean=0.5, std=0.25, classes=["a", "b"]), create_accelerator("cpu", "bf16"))
    assert type(network[1]) is Float32Conv2d
    image = torch.randint(0, 256, (40, 30, 3), dtype=torch.uint8).numpy()
    assert (fcn.predict(model, image, strategy="stream", band=8) == fcn.predict(model, image, strategy="whole")).all()
