"""A foreign network is tried before it is measured: met where that is clear, refused otherwise."""

import logging
from collections import namedtuple
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.configuration import composition
from robustrun.configuration.catalogue import catalogue
from robustrun.configuration.run_config import load_config
from robustrun.datasets.tensors import TensorImages
from robustrun.errors import DataError, RobustrunError
from robustrun.evaluation.measure import evaluate
from robustrun.models.trial import Adapted, follows_gradient, reason, sample, tried
from robustrun.types import Attack

SHAPE, CLASSES = (1, 4, 4), 4
Pair = namedtuple("Pair", "logits features")


def from_catalogue(name: str, *words: str) -> Attack:
    words = (f"attack={name}", "evaluation=none", "model=simple_cnn", *words)
    return load_config(composition.compose_config(list(words))).attack


class Plain(nn.Module):
    """Logits of a linear layer on images around their middle: `changed` by what derives from it."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.weight = nn.Parameter(torch.randn(CLASSES, 16, generator=generator))

    def logits(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.weight.T

    def forward(self, x: Tensor) -> Any:
        return self.logits(x)


class InATuple(Plain):
    def forward(self, x: Tensor) -> Any:
        return x.mean(), self.logits(x), x


class InANamedTuple(Plain):
    def forward(self, x: Tensor) -> Any:
        return Pair(self.logits(x), [x])


class InADictionary(Plain):
    def forward(self, x: Tensor) -> Any:
        return {"loss": x.mean(), "out": self.logits(x), "aux": self.logits(-x)}


class InPlace(Plain):
    def forward(self, x: Tensor) -> Any:
        x.sub_(0.5)
        return x.flatten(1) @ self.weight.T


class Double(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.double()


class Bfloat16(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.bfloat16()


class HalfLogits(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).half()


class NotOne(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).squeeze(0)


class RefusesOne(Plain):
    def forward(self, x: Tensor) -> Any:
        if len(x) < 2:
            raise ValueError("more than one value is needed")
        return self.logits(x)


MET: dict[type[Plain], str] = {
    InATuple: "of which 1 are its logits",
    InANamedTuple: "of which 0 are its logits",
    InADictionary: "of which 'out' are its logits",
    InPlace: "each pass gets a copy",
    Double: "computes in float64",
    Bfloat16: "computes in bfloat16",
    HalfLogits: "rounded to float32",
    NotOne: "a single image comes as two",
    RefusesOne: "a single image comes as two",
}


def images(count: int = 25) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def right_answers(x: Tensor) -> Tensor:
    return Plain().double().logits(x.double()).argmax(dim=1)


@pytest.mark.parametrize("kind", MET)
def test_what_is_met_gives_the_numbers_of_the_plain_network_and_is_said(
    kind: type[Plain], caplog: pytest.LogCaptureFixture
) -> None:
    x, attacks = images(), {"pgd": from_catalogue("pgd", "attack.epsilon=0.01")}
    y, before = right_answers(x), x.clone()
    expected = evaluate(Plain(), (x, y), attacks)
    with caplog.at_level(logging.INFO):
        found = evaluate(kind(), (x, y), attacks, batch_size=8)  # the last batch has one image
    assert torch.equal(x, before)
    wrong = 1 if kind in (Bfloat16, HalfLogits) else 0  # rounded to 8 or 11 bits: a tie may fall
    assert (found.clean_right != expected.clean_right).sum() <= wrong
    robust, plain = found.attacks["pgd"].robust, expected.attacks["pgd"].robust
    assert (robust != plain).sum() <= wrong
    assert 0 < plain.sum() < len(x), "an attack that does nothing, or all, would show nothing"
    assert MET[kind] in caplog.text


def test_a_network_that_needs_nothing_is_left_alone_and_said_nothing_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Plain()
    state = torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        assert tried(network, sample(SHAPE), CLASSES, "it") is network
    assert torch.equal(torch.get_rng_state(), state)
    assert network.training
    assert not caplog.text


def test_weights_keep_their_names_behind_an_adapter() -> None:
    network = tried(InPlace(), sample(SHAPE), CLASSES, "it")
    assert isinstance(network, Adapted)
    assert list(network.state_dict()) == ["weight"]
    network.load_state_dict({"weight": torch.zeros(CLASSES, 16)})
    assert not network(images()).any()


class TwoLogits(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x), self.logits(-x)


class Nothing(Plain):
    def forward(self, x: Tensor) -> Any:
        return {"features": x}


class ClassNumbers(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).argmax(dim=1)


class OneLogit(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, :1]


class OneNumber(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, 0]


class Maps(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x)[:, :, None, None]


class OtherSize(Plain):
    def forward(self, x: Tensor) -> Any:
        return x.flatten(1) @ torch.zeros(48, CLASSES)


class FixedBatch(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x.view(2, *SHAPE))


class Text(Plain):
    def forward(self, x: Tensor) -> Any:
        return "cat"


class Counts(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Any:
        self.seen += len(x)
        return self.logits(x)


class NormInTraining(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Any:
        self.norm.train()
        return self.logits(self.norm(x))


REFUSED: dict[type[Plain], str] = {
    TwoLogits: r"several tensors that could be the logits \(0: 2 x 4 float32, 1: 2 x 4 float32\)",
    Nothing: r"a dict that holds no logits \(features: 2 x 1 x 4 x 4 float32\)",
    ClassNumbers: r"one number each.*what they are the largest of",
    OneLogit: r"one number each.*torch\.stack\(\[torch\.zeros_like\(z\), z\], dim=1\)",
    OneNumber: r"one number each.*torch\.stack",
    Maps: r"answers 2 images with \(2, 4, 1, 1\)",
    OtherSize: r"batch of 2 images of 1 x 4 x 4 \(.*mat1 and mat2 shapes cannot be multiplied",
    FixedBatch: r"does not take a batch of 3 images.*dynamic batch size",
    Text: r"answers with a str: a tensor is needed",
    Counts: r"changes its buffers in a pass in eval mode \(seen\)",
    NormInTraining: r"changes its buffers in a pass in eval mode \(norm\.running_mean",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_unclear_is_refused_with_the_reason_and_the_network_named(
    kind: type[Plain],
) -> None:
    x = images()
    with pytest.raises(ValueError, match=f"^{kind.__name__} .*{REFUSED[kind]}") as caught:
        evaluate(kind(), (x, right_answers(x)), {"noise": from_catalogue("gaussian_noise")})
    assert isinstance(caught.value, RobustrunError), "the command line ends with 2"
    assert "\n" not in str(caught.value)


def test_one_logit_for_two_classes_is_refused_by_number_on_the_command_line() -> None:
    with pytest.raises(DataError, match=r"one logit for each of 2 classes"):
        tried(OneLogit(), sample(SHAPE), 2, "it")
    with pytest.raises(DataError, match=r"the data set has 3 classes: logits of shape \(2, 3\)"):
        tried(Plain(), sample(SHAPE), 3, "it")


class Probabilities(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x).softmax(dim=1)


class Noisy(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x + 0.3 * torch.randn_like(x))


class OfTheBatch(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits(x - x.mean(dim=0, keepdim=True))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Noisy, "other logits at each pass"),
        (OfTheBatch, "in other batches"),
        (Probabilities, "answers with probabilities, not with logits"),
    ],
)
def test_randomness_companions_and_probabilities_are_warned_of_and_measured(
    kind: type[Plain], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    x = images()
    found = evaluate(kind(), (x, right_answers(x)), {"n": from_catalogue("gaussian_noise")})
    assert len(found.predictions) == len(x)
    assert said in caplog.text


# --- gradients ---


class Integers(Plain):
    def forward(self, x: Tensor) -> Any:
        return self.logits((x * 255).to(torch.int32).float() / 255)


class Cut(Plain):
    def forward(self, x: Tensor) -> Any:
        with torch.no_grad():
            return self.logits(x)


class Overwrites(Plain):
    def forward(self, x: Tensor) -> Any:
        power = (x - 0.5).exp()
        logits = self.logits(power - 0.5)
        power.mul_(2)  # what the slope of the exponential is computed from
        return logits


PERCEPTUAL = ("fast_lpa", "lpa", "ppgd")  # with weights from elsewhere
FREE = {"gaussian_noise", "notebook_noise", "salt_and_pepper", "square"}
ATTACKS = sorted(
    path.stem
    for path in (catalogue() / "attack").glob("*.yaml")  # all of them
)


@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_runs_without_a_gradient_or_says_that_it_needs_one(name: str) -> None:
    colour = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, CLASSES))
    network = nn.Sequential(WithoutSlope(), colour)
    x = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    own = ["attack.lpips.network=alexnet", "attack.lpips.weights=random"]
    attack = from_catalogue(name, "dataset=cifar10", *(own if name in PERCEPTUAL else []))
    assert follows_gradient(attack) == (name not in FREE)
    if name in FREE:
        evaluate(network, (x, torch.tensor([0, 1, 2])), {"it": attack})
        return
    noise = from_catalogue("gaussian_noise")
    with pytest.raises(ValueError, match=rf"No usable gradient .* and {name} cannot .* square"):
        evaluate(network, (x, torch.tensor([0, 1, 2])), {"noise": noise, name: attack})


class WithoutSlope(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.detach().round()


@pytest.mark.parametrize("kind", [Integers, Cut, Overwrites])
def test_a_missing_gradient_is_found_however_it_is_lost(kind: type[Plain]) -> None:
    x = images()
    batch = x, kind()(x).argmax(dim=1)
    with pytest.raises(DataError, match="No usable gradient"):
        evaluate(kind(), batch, {"pgd": from_catalogue("pgd")})
    square = from_catalogue("square", "attack.queries=20", "attack.epsilon=0.05")
    found = evaluate(kind(), batch, {"square": square})
    assert found.attacks["square"].robust.sum() < found.clean_right.sum()


# --- what evaluate takes ---


def test_tensors_a_loader_and_images_of_ours_give_the_same() -> None:
    x = images()
    y, attacks = right_answers(x), {"noise": from_catalogue("gaussian_noise")}
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=7)
    kinds: list[Any] = [(x, y), [(x, y)], loader, TensorImages(x, y)]
    for given_as in kinds:
        found = robustrun.evaluate(Plain(), given_as, attacks)
        assert found.clean_right.all()
        assert found.attacks["noise"].robust.sum() < len(x)


def test_one_image_is_measured_too() -> None:
    x = images(1)
    assert evaluate(NotOne(), (x, right_answers(x)), {}).clean_right.tolist() == [True]


@pytest.mark.parametrize(
    ("model", "given_as", "attacks", "says"),
    [
        (lambda x: x, None, {}, "The model is a function"),
        (Plain(), 3, {}, "images given to evaluate are a int"),
        (Plain(), None, ["pgd"], "The attacks are a list"),
        (Plain(), None, {"pgd": "pgd"}, "The attack 'pgd' is a str"),
    ],
)
def test_what_is_of_a_wrong_type_is_a_type_error(
    model: Any, given_as: Any, attacks: Any, says: str
) -> None:
    batch = (images(), right_answers(images())) if given_as is None else given_as
    with pytest.raises(TypeError, match=says):
        evaluate(model, batch, attacks)


def test_an_exported_program_is_measured_although_it_has_no_eval() -> None:
    shapes = ({0: torch.export.Dim("batch", min=1, max=64)},)
    made = torch.export.export(Plain(), (images(2),), dynamic_shapes=shapes).module()
    x = images()
    attacks = {"pgd": from_catalogue("pgd", "attack.epsilon=0.01")}
    found, plain = (evaluate(m, (x, right_answers(x)), attacks) for m in (made, Plain()))
    assert found.clean_right.all()
    assert (found.attacks["pgd"].robust == plain.attacks["pgd"].robust).all()


# --- reasons ---


def test_the_reason_is_torchscripts_last_word_and_all_of_any_other() -> None:
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(-1, 7)

    with pytest.warns(FutureWarning, match="deprecated"):
        scripted = torch.jit.script(Fails())
    with pytest.raises(RuntimeError) as caught:
        scripted(images(2))
    assert reason(caught.value).startswith("RuntimeError: shape '[-1, 7]' is invalid")
    assert reason(ValueError("one\ntwo")) == "one two"
    assert reason(KeyError()) == "KeyError"
    assert len(reason(ValueError("x" * 9999))) < 600


def test_a_program_on_the_command_line_is_tried_and_refused_with_the_whole_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for file, sizes, says in (
        ("colour.pt", (48, 10), "mat1 and mat2 shapes cannot be multiplied (2x64 and 48x10)"),
        ("one.pt", (64, 1), "one number each"),
    ):
        with pytest.warns(FutureWarning, match="deprecated"):
            torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(*sizes))).save(file)
        words = ["evaluation=none", "evaluation.examples=20", "device.threads=1"]
        assert run_command_line(["evaluate", file, *words]) == 2
        said = capfd.readouterr().err
        said = said.partition("robustrun: ")[2]  # before it, the log
        assert says in said
        assert said.count("\n") == 1


# --- any network, any images ---

WRAPPED = [Plain, *MET]


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(WRAPPED),
    count=st.integers(0, 9),
    label=st.integers(-2, CLASSES + 1),
    image_type=st.sampled_from([torch.float16, torch.float32, torch.float64, torch.uint8]),
    label_type=st.sampled_from([torch.uint8, torch.int32, torch.int64, torch.float32]),
    scale=st.sampled_from([0.5, 1.0, 255.0, -1.0]),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
def test_a_right_number_or_a_clear_error(
    kind: type[Plain],
    count: int,
    label: int,
    image_type: torch.dtype,
    label_type: torch.dtype,
    scale: float,
    batch_size: int,
    seed: int,
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *SHAPE, generator=generator)
    x = (
        (x * 255).round().to(torch.uint8)
        if image_type == torch.uint8
        else (x * scale).to(image_type)
    )
    y = torch.full((count,), label).to(label_type)
    fits = 0 <= label < CLASSES and count > 0 and label_type != torch.float32
    fits &= image_type == torch.uint8 or scale in (0.5, 1.0)
    if not fits:
        with pytest.raises(ValueError, match="images given to evaluate"):
            evaluate(kind(), (x, y), {}, batch_size=batch_size)
        return
    found = evaluate(kind(), (x, y), {}, batch_size=batch_size)
    pixels = x.double() / 255 if image_type == torch.uint8 else x.double()
    logits = Plain().double().logits(pixels)
    top = logits.topk(2, dim=1).values
    clear = ((top[:, 0] - top[:, 1]) > 0.05).numpy()  # bfloat16 rounds logits of about 3 by 0.01
    expected = logits.argmax(dim=1).numpy()
    assert (found.predictions == expected)[clear].all()
    assert (found.clean_right == (found.predictions == label)).all()
    assert found.predictions.dtype == np.int64


@pytest.mark.parametrize("training", [True, False])
def test_a_network_that_is_refused_keeps_its_mode(training: bool) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 1)).train(training)
    with pytest.raises(DataError):
        tried(network, sample(SHAPE), CLASSES, "one logit")
    assert all(module.training == training for module in network.modules())


@pytest.mark.parametrize(("adversarial", "follows"), [(True, True), (False, False)])
def test_an_attack_may_have_it_as_a_setting_whether_it_looks_for_mistakes(
    adversarial: bool, follows: bool
) -> None:
    kind: Any = make_dataclass("Either", [("adversarial", bool)], frozen=True)
    assert follows_gradient(kind)  # the class alone cannot tell
    assert follows_gradient(kind(adversarial)) == follows
