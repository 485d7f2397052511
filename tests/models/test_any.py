"""Anybody's network as a model: which output counts, what is found by trying, what is refused, and that all that takes a model takes it."""

import logging
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.inference.strategies import create_strategy
from fcn.models.any import Wrapped

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
STRATEGIES = [("whole", {}), ("stream", {"band": 8}), ("stream", {"band": 16, "strip": 24}), ("windows", {"size": 200}), ("auto", {})]


def net(channels=3, *, stride=4, in_channels=3, ending=lambda scores, image: scores):
    """A small network in float64 that ends as ``ending(scores at that stride, image)`` does."""
    torch.manual_seed(0)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(in_channels, 8, 3, stride=stride, padding=1)
            self.second = nn.Conv2d(8, channels, 3, padding=1)

        def forward(self, x):
            return ending(self.second(F.relu(self.first(x))) * 5, x)

    return Network().double().eval()


def to_image(scores, image, **how):
    return F.interpolate(scores, size=image.shape[-2:], mode="bilinear", **how)


def picture(height=37, width=58, channels=3):
    return torch.randint(0, 256, (channels, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def normalised(image, scale=1 / 255):
    return (image.double() * scale - torch.tensor(MEAN).double()[:, None, None]) / torch.tensor(STD).double()[:, None, None]


def wrap(network, **options):
    return fcn.wrap(network, mean=MEAN, std=STD, **options)


@dataclass
class Result:
    logits: torch.Tensor
    hidden: torch.Tensor


ENDINGS = {
    "tensor": (to_image, {}),
    "dict": (lambda scores, image: {"aux": scores, "out": to_image(scores, image)}, {}),
    "dict of one": (lambda scores, image: {"masks": to_image(scores, image)}, {}),
    "object": (lambda scores, image: Result(to_image(scores, image), scores), {}),
    "tuple": (lambda scores, image: (to_image(scores, image), scores.mean((2, 3))), {}),
    "named": (lambda scores, image: {"a": scores, "b": to_image(scores, image)}, {"output": "b"}),
    "attribute": (lambda scores, image: Result(scores, to_image(scores, image)), {"output": "hidden"}),
    "index": (lambda scores, image: [scores, to_image(scores, image)], {"output": 1}),
    "corners": (lambda scores, image: to_image(scores, image, align_corners=True), {}),
    "padded": (lambda scores, image: F.interpolate(scores, scale_factor=4, mode="bilinear")[..., : image.shape[2], : image.shape[3]], {}),
    "nearest": (lambda scores, image: F.interpolate(scores, size=image.shape[-2:]), {}),
    "softmax": (lambda scores, image: to_image(scores.softmax(1), image), {}),
    "written over": (lambda scores, image: to_image(scores, image).mul_(-1), {}),
}


@pytest.mark.parametrize(("strategy", "options"), STRATEGIES)
@pytest.mark.parametrize("name", ENDINGS)
def test_labels_are_those_of_the_network_itself(name, strategy, options):
    """The oracle is the network's own output, at the size of the image."""
    ending, words = ENDINGS[name]
    network = net(ending=ending)
    model = wrap(network, **words)
    image = picture()
    with torch.no_grad():
        given = network(normalised(image)[None])
    key = words.get("output", {"dict": "out", "dict of one": "masks", "object": "logits", "tuple": 0}.get(name))
    logits = given if key is None else getattr(given, key) if isinstance(given, Result) else given[key]
    labels = create_strategy(strategy, **options)(model.eval(), image)
    assert len(labels.unique()) == 3
    assert torch.equal(labels.long(), logits[0].argmax(0))


@pytest.mark.parametrize("name", ["tensor", "corners", "padded", "dict", "index"])
def test_the_last_interpolation_is_taken_off(name):
    ending, words = ENDINGS[name]
    model = wrap(net(ending=ending), **words).eval()
    with torch.inference_mode():
        scores, cell = model.coarse(model.normalize(picture()[None]))
    assert scores.shape == (1, 3, 10, 15)
    assert cell.corners == (name == "corners")
    assert next(fcn_stream(model)).shape[2] == 15


def fcn_stream(model):
    from fcn.inference.stream import stream

    return stream(model, picture()).bands


@pytest.mark.parametrize(
    "ending",
    [
        lambda scores, image: to_image(scores, image).relu(),
        lambda scores, image: to_image(scores, image) + image[:, :1],
        lambda scores, image: to_image(scores, image)[..., 1:, :].contiguous(),
        lambda scores, image: (to_image(scores, image), scores.mul_(-1))[0],
        lambda scores, image: (to_image(scores, image), scores[:, :1].add_(50))[0],
    ],
)
@pytest.mark.parametrize(("strategy", "options"), STRATEGIES[:2])
def test_what_is_done_after_or_beside_the_interpolation_is_done(ending, strategy, options):
    network = net(ending=lambda scores, image: F.pad(ending(scores, image), (0, 0, 0, 0)))
    image = picture()
    with torch.no_grad():
        logits = network(normalised(image)[None])[0]
    if logits.shape[-2] < 37:
        with pytest.raises(UserError, match="scores for an image of"):
            wrap(network)
        return
    labels = create_strategy(strategy, **options)(wrap(network).eval(), image)
    assert torch.equal(labels.long(), logits.argmax(0))


def test_what_is_written_over_a_part_of_the_result_is_done_or_refused():
    network = net(ending=lambda scores, image: [result := to_image(scores, image), result[:, :1].add_(50)][0])
    image = picture()
    assert (create_strategy("whole")(wrap(network).eval(), image) == 0).all()
    with pytest.raises(UserError, match="in layer 'Network' in bands of rows: it writes over a tensor of which a view is read later"):
        create_strategy("stream")(wrap(network).eval(), image)


def test_hooks_see_what_the_layers_give():
    network, seen = net(ending=to_image), []
    network.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    model = wrap(network).eval()
    seen.clear()
    create_strategy("whole")(model, picture())
    with torch.no_grad():
        assert torch.allclose(seen[0], network.forward(normalised(picture())[None]), atol=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 4, 32])
def test_scores_of_any_stride_lie_over_whole_cells(stride):
    network = net(stride=stride)
    model = wrap(network).eval()
    assert (model.stride, model.spec.divisor) == (stride, stride)
    image = normalised(picture())[None]
    padded = F.pad(image, (0, -58 % stride, 0, -37 % stride))
    with torch.no_grad():
        logits = F.interpolate(network(padded), scale_factor=float(stride), mode="bilinear")[0, :, :37, :58]
    for name, options in STRATEGIES:
        assert torch.equal(create_strategy(name, **options)(model, picture()).long(), logits.argmax(0)), name


def picky(divisor):
    def ending(scores, image):
        if image.shape[2] % divisor or image.shape[3] % divisor:
            raise RuntimeError(f"sides must be divisible by {divisor}")
        return to_image(scores, image)

    return net(ending=ending)


@pytest.mark.parametrize(("needed", "found"), [(1, 1), (2, 2), (8, 8), (14, 14), (32, 32)])
def test_the_divisor_is_found_by_trying(needed, found):
    model = wrap(picky(needed)).eval()
    assert model.spec.divisor == found
    padded = F.pad(normalised(picture()), (0, -58 % needed, 0, -37 % needed))
    with torch.no_grad():
        logits = model.backbone.network(padded[None])[0, :, :37, :58]
    for name, options in STRATEGIES:
        assert torch.equal(create_strategy(name, **options)(model, picture()).long(), logits.argmax(0)), name


def test_a_divisor_beyond_the_sizes_that_are_next_to_each_other():
    """Cells of 16 pixels, of which there have to be an even number: 256 to 263 pixels all give 16."""

    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = nn.Conv2d(3, 8, 16, 16), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

        def forward(self, x):
            fine = self.first(x)
            return to_image(self.last(fine + F.interpolate(self.second(F.max_pool2d(fine, 2)), scale_factor=2.0)), x)

    assert wrap(Patches()).spec.divisor == 32


@pytest.mark.parametrize(
    ("strategy", "message"), [("whole", "Network gives 210x45 scores for"), ("stream", "end after 210 of the image's 420")]
)
def test_scores_whose_cells_become_larger_are_refused(strategy, message):
    network = net(stride=1, ending=lambda scores, image: F.avg_pool2d(scores, 2) if image.shape[3] > 400 else scores)
    model = wrap(network).eval()
    with pytest.raises(UserError, match=message):
        create_strategy(strategy)(model, picture(90, 420))


SHARES = {  # by which one channel becomes a probability, and the word for it
    "sigmoid": (torch.sigmoid, "sigmoid"),
    "cut off": (lambda x: torch.sigmoid(x).clamp(1e-6, 1 - 1e-6), "sigmoid"),
    "of another type": (lambda x: torch.sigmoid(x).float().double(), "sigmoid"),
    "straight": (F.hardsigmoid, "sigmoid"),
    "nearest neighbours": (lambda x: F.interpolate(torch.sigmoid(x), scale_factor=1.0), "sigmoid"),
    "a mean of two": (lambda x: (torch.sigmoid(x) + torch.sigmoid(x + 1)) / 2, "probability"),
}


@pytest.mark.parametrize("name", SHARES)
def test_probabilities_are_above_a_half_whatever_is_done_to_them(name, caplog):
    activation, word = SHARES[name]
    network = net(1, stride=1, ending=lambda scores, image: activation(scores))
    with caplog.at_level(logging.WARNING):
        wrap(network, labels="sigmoid")
    assert ("Network gives numbers between 0 and 1 for an image of noise" in caplog.text) == (word == "probability")
    with torch.no_grad():
        share = network(normalised(picture())[None])[0, 0]
    for labels in (word, "probability"):
        model = wrap(network, labels=labels).eval()
        for strategy, options in STRATEGIES[:2]:
            assert torch.equal(create_strategy(strategy, **options)(model, picture()).bool(), share > 0.5)
    assert 0.1 < (share > 0.5).float().mean() < 0.9


def halved(share):
    share -= 0.5
    return share


def gated(share):
    share[:, :, ::2] *= -1
    return share


@pytest.mark.parametrize("write", [halved, gated, lambda share: share.log_()])
def test_what_is_written_over_a_probability_is_none(write):
    """They count as logits, as they do where the network makes a new tensor."""
    model = wrap(net(1, stride=1, ending=lambda scores, image: write(torch.sigmoid(scores))), labels="sigmoid").eval()
    assert not model.probabilities
    with torch.no_grad():
        logits = model.backbone.network(normalised(picture())[None])[0, 0]
    assert torch.equal(create_strategy("whole")(model, picture()).bool(), logits > 0)


@pytest.mark.parametrize("branch", [False, True])
def test_a_network_is_left_as_it_was(branch):
    """What it counts and what it keeps, also where it can only be tried with data."""

    class Keeping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(3, 1, 4, 4)
            self.register_buffer("runs", torch.zeros(()))

        def forward(self, x):
            self.runs += 1
            sign = -1 if branch and x.mean() > 1e6 else 1
            self.kept = to_image(sign * self.layer(x), x)
            return self.kept

    network = Keeping()
    model = fcn.wrap(network, mean=MEAN, std=STD, labels="sigmoid").eval()
    assert network.runs == 0
    assert not hasattr(network, "kept")
    create_strategy("whole")(model, picture())
    kept = network.kept
    with torch.no_grad():
        assert torch.equal(kept, network(model.normalize(picture()[None])))


@pytest.mark.parametrize("strategy", ["whole", "windows", "auto"])
def test_an_image_that_is_too_small_for_the_network(strategy):
    model = wrap(nn.Conv2d(3, 5, 9, padding=4, padding_mode="reflect").double())
    with pytest.raises(UserError, match=r"Conv2d cannot be run on an image of 60x3 pixels \(.*\); give a larger image"):
        create_strategy(strategy)(model, picture(3, 60))


def test_scores_that_are_interpolated_to_a_part_of_the_image():
    """The network's last interpolation is not the last one that the labels need."""
    network = net(3, stride=4, ending=lambda scores, image: F.interpolate(scores, scale_factor=2, mode="bilinear"))
    model = wrap(network).eval()
    image = picture()[:, :32, :56]
    with torch.no_grad():
        expected = F.interpolate(network(normalised(image)[None]), scale_factor=2, mode="bilinear")[0].argmax(0)
    for name, options in STRATEGIES[:3]:
        assert torch.equal(create_strategy(name, **options)(model, image).long(), expected), name


@pytest.mark.parametrize("activation", [lambda x: x, torch.sigmoid])
@pytest.mark.parametrize("first", [True, False], ids=["activation first", "interpolation first"])
def test_one_channel_is_a_binary_mask(activation, first):
    """Class 1 where the sigmoid is above a half, whether the network has the sigmoid or not, and confidence is its distance from 1/2."""

    def ending(scores, image):
        return to_image(activation(scores), image) if first else activation(to_image(scores, image))

    network = net(1, ending=ending)
    model = wrap(network, labels="sigmoid", classes=["road"]).eval()
    assert model.labels.names == ("background", "road")
    with torch.no_grad():
        given = network(normalised(picture())[None])[0, 0]
    share = given if activation is torch.sigmoid else given.sigmoid()
    for name, options in STRATEGIES[:3]:
        confidence = torch.zeros(37, 58, dtype=torch.uint8)
        labels = create_strategy(name, **options)(model, picture(), confidence=confidence)
        assert torch.equal(labels.bool(), share > 0.5)
        assert 0.1 < labels.float().mean() < 0.9
        assert (confidence - 255 * torch.maximum(share, 1 - share)).abs().max() <= 0.51
        flipped = create_strategy(name, flip=True, **{k: v for k, v in options.items() if k != "strip"})(model, picture())
        assert (flipped != labels).float().mean() < 0.5


def test_scale_mean_and_std_are_what_the_network_sees():
    seen = []
    network = net(ending=lambda scores, image: (seen.append(image), to_image(scores, image))[1])
    for scale in (1 / 255, 1, 2 / 255):
        model = fcn.wrap(network, mean=MEAN, std=STD, scale=scale).eval()
        seen.clear()
        create_strategy("whole")(model, picture())
        assert torch.allclose(seen[0][0], normalised(picture(), scale), rtol=1e-6, atol=1e-5 * scale * 255)
    assert fcn.wrap(network, mean=0.5, std=0.5).in_channels == 3


def test_a_network_of_one_channel_sees_gray():
    from PIL import Image

    seen = []
    network = net(in_channels=1, ending=lambda scores, image: (seen.append(image), to_image(scores, image))[1])
    model = fcn.wrap(network, mean=0, std=1)
    array = picture().permute(1, 2, 0).numpy()
    seen.clear()
    fcn.predict(model, array, strategy="whole")
    gray = torch.from_numpy(np.array(Image.fromarray(array).convert("L"))).double() / 255
    assert (seen[0][0, 0] - gray).abs().max() < 1.01 / 255
    assert ((seen[0][0, 0] - gray).abs() < 1e-6).float().mean() > 0.99
    assert np.array_equal(fcn.predict(model, array, strategy="stream"), fcn.predict(model, array, strategy="whole"))


def test_a_network_that_takes_gray_or_colour_gets_colour_by_one_number():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x):
            return self.layer(x.mean(1, keepdim=True))

    assert fcn.wrap(Mean(), mean=0.5, std=0.25).in_channels == 3
    assert fcn.wrap(Mean(), mean=[0.5], std=[0.25]).in_channels == 1


def test_predict_takes_a_module_with_its_mean_and_std():
    network, image = net(ending=to_image), picture().permute(1, 2, 0).numpy()
    expected = fcn.predict(wrap(network), image)
    assert np.array_equal(fcn.predict(network, image, mean=MEAN, std=STD, strategy="stream"), expected)
    assert not network.training
    with pytest.raises(UserError, match=r"Network does not say how its images are normalised; give its mean= and std="):
        fcn.predict(network, image)
    with pytest.raises(UserError, match="mean= is for a torch module that is not wrapped yet, and this is a Wrapped"):
        fcn.predict(wrap(network), image, mean=MEAN, std=STD)
    with pytest.raises(UserError, match="belong together"):
        fcn.predict(network, image, mean=MEAN)


@pytest.mark.parametrize("words", [{}, {"labels": "sigmoid"}, {"scale": 1.0}])
def test_save_and_load(tmp_path, words):
    channels = 1 if words.get("labels") else 3
    network = net(channels, ending=to_image)
    model = wrap(network, classes=["a", "b", "c"][: max(channels, 2)], **words)
    fcn.save(model, tmp_path / "net.pt")
    other = net(channels, ending=to_image)
    nn.init.zeros_(other.first.weight)
    loaded = fcn.load(tmp_path / "net.pt", network=other)
    assert loaded.labels == model.labels
    assert loaded.spec == model.spec
    assert not loaded.training
    image = picture().permute(1, 2, 0).numpy()
    assert np.array_equal(fcn.predict(loaded, image), fcn.predict(model, image))
    with pytest.raises(UserError, match=r"holds the weights of a network of your own, Network, and not its code; .*network="):
        fcn.load(tmp_path / "net.pt")
    with pytest.raises(UserError, match=r"the network given for .*net.pt, which is of a Network, does not fit it: Conv2d cannot be used"):
        fcn.load(tmp_path / "net.pt", network=other.first)
    with pytest.raises(UserError, match=r"the weights in .*net.pt belong to another network: it lacks 4 of 6"):
        fcn.load(tmp_path / "net.pt", network=nn.Sequential(other))
    ours = fcn.create_model("fcn8s", classes=["a", "b"], backbone="compact")
    fcn.save(ours, tmp_path / "ours.pt")
    with pytest.raises(UserError, match="says itself how its network is built; leave network= out"):
        fcn.load(tmp_path / "ours.pt", network=other)


def test_it_trains_as_other_models_do():
    network = net(ending=to_image).float().train()
    model = wrap(network, classes=["a", "b", "c"])
    assert model.training
    assert model.backbone.training
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth = torch.randint(0, 3, (2, 37, 58), generator=torch.Generator().manual_seed(0))
    images = torch.stack([picture(), picture().flip(-1)])
    losses = []
    for _ in range(8):
        loss = F.cross_entropy(model(model.normalize(images)), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_evaluate_and_train_take_it(tmp_path):
    training, validation = (fcn.create_split("shapes", name, train_count=4, val_count=2) for name in ("train", "val"))
    network = net(len(training.labels.names), ending=to_image).float()
    model = wrap(network, classes=training.labels.names)
    one, other = (fcn.evaluate(model, validation, strategy=name, workers=0, progress=False) for name in ("whole", "stream"))
    assert torch.equal(one.confusion, other.confusion)
    quick = {"epochs": 1, "batch_size": 2, "crop_size": 32, "workers": 0, "device": "cpu", "precision": "fp32", "progress": False}
    before = network.first.weight.clone()
    result = fcn.train(model, training, validation, output=tmp_path / "run", **quick)
    assert not torch.equal(network.first.weight, before)
    fresh = fcn.load(result.checkpoint, network=net(len(training.labels.names), ending=to_image).float())
    assert fresh.labels.names == training.labels.names
    assert torch.equal(fresh.backbone.network.first.weight, network.first.weight)


def test_a_frozen_part_stays_in_its_mode():
    network = net(ending=to_image).train()
    network.first.eval()
    model = wrap(network)
    assert (model.training, network.training, network.first.training) == (True, True, False)


def test_the_first_of_several_maps_is_taken_and_said(caplog):
    network = net(ending=lambda scores, image: [to_image(scores, image), to_image(scores, image, align_corners=True)])
    with caplog.at_level(logging.WARNING):
        wrap(network)
    assert "Network gives 2 maps; the first is taken for the scores" in caplog.text
    caplog.clear()
    wrap(network, output=1)
    assert not caplog.text


def linear():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("make", "words", "message"),
    [
        (lambda: net(1, ending=to_image), {}, "gives one channel, of which the arg-max is class 0 everywhere; .*labels='sigmoid'"),
        (lambda: net(3, ending=to_image), {"labels": "sigmoid"}, "labels='sigmoid' is for one channel, and Network gives 3"),
        (
            lambda: net(ending=to_image),
            {"labels": "softmax"},
            "labels='softmax' is not allowed; it is 'argmax', 'sigmoid' or 'probability'",
        ),
        (lambda: net(ending=to_image), {"classes": ["a", "b"]}, r"2 classes are named \(a, b\) and Network gives 3"),
        (lambda: net(ending=to_image), {"classes": 4}, "classes=4 does not fit Network, which gives 3"),
        (lambda: net(ending=to_image), {"divisor": 0}, "divisor=0 is not allowed"),
        (lambda: net(ending=to_image), {"output": "out"}, "output='out' is not among the network's outputs"),
        (lambda: net(ending=lambda s, x: {"a": s, "b": s}), {}, r"an output in a dict \(a, b\); say which with output="),
        (
            lambda: net(ending=lambda s, x: s.mean((2, 3))),
            {},
            r"of shape \(1, \d+\); make a map of this classifier by fcn.convolutionalize",
        ),
        (lambda: picky(8), {"divisor": 4}, "sides must be divisible by 8; give the divisor"),
        (linear, {}, r"no scores \(N, K, h, w\) but an output of shape \(1, 2\)"),
        (lambda: net(in_channels=1, ending=to_image), {}, "mean and std have 3 numbers, and Network takes images of 1 channel"),
        (lambda: net(ending=lambda s, x: x[:, :, 5:-5, 5:-5]), {}, r"it gives \d+x\d+ scores for an image of \d+x\d+ pixels"),
        (lambda: torch.jit.script(nn.Conv2d(3, 2, 1)), {}, "give the nn.Module that it was made from"),
        (lambda: net(ending=to_image), {"std": 0.0}, "std is above 0"),
        (lambda: net(ending=to_image), {"scale": 0}, "scale=0 is not allowed"),
    ],
)
def test_what_is_no_model_is_refused(make, words, message):
    with pytest.raises(UserError, match=message):
        fcn.wrap(make(), **{"mean": MEAN, "std": STD} | words)


def test_numbers_of_channels_must_agree():
    with pytest.raises(UserError, match="mean has 3 numbers and std 2"):
        fcn.wrap(net(), mean=MEAN, std=(1, 1))


def test_a_network_that_cannot_take_a_small_image_says_so():
    network = net(ending=lambda s, x: to_image(F.pad(s, (9, 9, 9, 9), mode="reflect")[..., 9:-9, 9:-9], x))
    model = wrap(network).eval()
    with pytest.raises(UserError, match=r"Network cannot be run on an image of 20x30 pixels \(.*\); give a larger image"):
        create_strategy("whole")(model, picture(30, 20))


def test_wrapped_is_a_segmenter_with_labels_of_any_set():
    model = wrap(net(ending=to_image), classes=3)
    assert isinstance(model, Wrapped)
    assert model.labels is None
    model.labels = LabelSet(("a", "b", "c"))


def test_coarse_probabilities_are_interpolated_as_the_label_map_interpolates_them():
    """Before the logarithm: forward, and so the loss and an exported file, name the classes of fcn.predict."""
    model = wrap(net(ending=lambda scores, image: scores.softmax(1)))
    assert model.stride > 1
    image = picture()
    with torch.no_grad():
        labels = model(model.normalize(image[None])).argmax(1)[0]
    assert torch.equal(labels, create_strategy("whole")(model.eval(), image).long())


@pytest.mark.parametrize("number", [np.float32(0.5), torch.tensor(0.5), np.float64(0.5)])
def test_numbers_of_other_libraries(number):
    model = fcn.wrap(net(), mean=number, std=number, classes=np.int64(3))
    assert model.spec.num_classes == 3
    assert torch.equal(model.mean, fcn.wrap(net(), mean=0.5, std=0.5).mean)
