"""Whatever comes in: a right number or a clear error, never a traceback or a wrong number.

The right numbers are computed apart from the program, in float64 on linear networks, whose
FGSM has a closed form: x + epsilon * sign(W^T (softmax(W x + b) - onehot(y))), cut to [0, 1].
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.compute.predictions import NO_ANSWER
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config

EPSILON = 0.05
CLOSE = 1e-4  # logits and slopes nearer than this may fall either way in float32, and more in half
FORMS = ("plain", "in place", "tuple", "dictionary", "logits per image", "two answers")
NUMBERS = ("finite", "nan", "infinite")
IMAGE_TYPES = (torch.float32, torch.float64, torch.float16, torch.uint8, torch.int64)
LABEL_TYPES = (torch.int64, torch.int32, torch.uint8, torch.float32)


class Linear(nn.Module):
    """W x + b in one of the forms in which people's networks come."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, form: str, numbers: str, seed: int
    ) -> None:
        super().__init__()
        size = int(np.prod(shape))
        drawn = np.random.default_rng(seed).normal(size=(classes, size + 1)) / size**0.5
        self.weight = nn.Parameter(torch.from_numpy(drawn[:, :-1]).float())
        self.bias = nn.Parameter(torch.from_numpy(drawn[:, -1]).float())
        self.form = form
        self.factor = {"finite": 1.0, "nan": float("nan"), "infinite": float("inf")}[numbers]

    def forward(self, x: Tensor) -> Any:
        if self.form == "in place":
            x.mul_(1.0).sub_(0.0).add_(0.25)
            x = x - 0.25
        logits = x.flatten(1).to(self.weight.dtype) @ self.weight.T + self.bias
        logits = logits * self.factor
        return {
            "tuple": (logits, x.mean()),
            "dictionary": {"logits": logits, "features": x},
            "logits per image": logits.squeeze(0),
            "two answers": (logits, logits),
        }.get(self.form, logits)


@dataclass(frozen=True)
class Truth:
    """What is right of each image; False in `sure` where float32 may honestly differ."""

    clean: np.ndarray
    robust: np.ndarray
    sure: np.ndarray


def truth(network: Linear, x: np.ndarray, y: np.ndarray) -> Truth:
    """For images N x D in [0, 1], float64."""
    weight, bias = (p.detach().numpy().astype(np.float64) for p in network.parameters())
    logits = x @ weight.T + bias
    shares = np.exp(logits - logits.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    slope = (shares - np.eye(len(bias))[y]) @ weight
    attacked = np.clip(x + EPSILON * np.sign(slope), 0, 1) @ weight.T + bias
    sure = (np.abs(slope).min(1) > CLOSE) & _apart(logits) & _apart(attacked)
    clean = logits.argmax(1) == y
    return Truth(clean, clean & (attacked.argmax(1) == y), sure)


def _apart(logits: np.ndarray) -> np.ndarray:
    if logits.shape[1] == 1:
        return np.ones(len(logits), dtype=bool)
    first, second = np.sort(logits, axis=1)[:, :-3:-1].T
    return first - second > CLOSE


@pytest.fixture(scope="module")
def fgsm() -> Any:
    words = ["attack=fgsm", f"attack.epsilon={EPSILON}", "evaluation=none"]
    return load_config(composition.compose_config(words)).attack


@st.composite
def inputs(draw: st.DrawFn) -> dict[str, Any]:
    """Images, labels and a network; half of them usual in all but one thing."""
    shape = draw(st.sampled_from([(1, 4, 4), (3, 2, 5), (2, 3, 3), (16,), (4, 4)]))
    usual = {
        "shape": draw(st.sampled_from([(1, 4, 4), (3, 2, 5), (2, 3, 3)])),
        "count": draw(st.integers(1, 6)),
        "classes": draw(st.integers(2, 4)),
        "form": "plain",
        "numbers": "finite",
        "image_type": torch.float32,
        "label_type": torch.int64,
        "low": 0.0,
        "high": 1.0,
        "hole": False,
        "shift": 0,
        "seed": draw(st.integers(0, 10**6)),
    }
    odd = {
        "shape": shape,
        "count": draw(st.integers(0, 6)),
        "classes": draw(st.integers(1, 4)),
        "form": draw(st.sampled_from(FORMS)),
        "numbers": draw(st.sampled_from(NUMBERS)),
        "image_type": draw(st.sampled_from(IMAGE_TYPES)),
        "label_type": draw(st.sampled_from(LABEL_TYPES)),
        "low": draw(st.sampled_from([0.0, -1.0, -0.01])),
        "high": draw(st.sampled_from([1.0, 255.0, 1.01])),
        "hole": draw(st.booleans()),
        "shift": draw(st.sampled_from([0, -1, 1, 100])),
    }
    names = draw(st.lists(st.sampled_from(sorted(odd)), max_size=3, unique=True))
    return usual | {name: odd[name] for name in names}


def drawn(case: dict[str, Any]) -> tuple[Linear, Tensor, Tensor]:
    rng = np.random.default_rng(case["seed"])
    network = Linear(case["shape"], case["classes"], case["form"], case["numbers"], case["seed"])
    x = torch.from_numpy(rng.uniform(case["low"], case["high"], (case["count"], *case["shape"])))
    if case["image_type"] is torch.uint8:
        x = (x * 255).clamp(0, 255)
    if case["hole"] and len(x):
        x[-1].view(-1)[0] = np.nan if x.is_floating_point() and case["seed"] % 2 else 7.0
    y = torch.from_numpy(rng.integers(0, case["classes"], case["count"])) + case["shift"]
    return network.eval(), x.to(case["image_type"]), y.to(case["label_type"])


def fits(case: dict[str, Any], x: Tensor, y: Tensor) -> bool:
    """Whether there is anything to measure: the meaning of these tensors is beyond doubt."""
    usable = case["classes"] > 1 and len(case["shape"]) == 3 and case["count"] > 0
    if not usable or case["form"] in ("two answers", "logits per image"):
        return False
    if x.dtype == torch.int64 or not torch.isfinite(x.double()).all():
        return False
    top = 255 if x.dtype == torch.uint8 else 1
    labels = y.double()
    whole = bool((labels == labels.round()).all()) and y.dtype != torch.float32
    inside = float(x.min()) >= 0 and float(x.max()) <= top
    return whole and inside and bool((labels >= 0).all() and (labels < case["classes"]).all())


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # to shrink a failing example takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(case=inputs())
def test_python_gives_the_right_number_or_says_what_is_wrong(
    fgsm: Any, case: dict[str, Any]
) -> None:
    network, x, y = drawn(case)
    before = x.clone()
    found, error = measured(network, x, y, fgsm)
    if found is None:
        assert not fits(case, x, y), error
        assert len(error) > 20
        assert "left its ball" not in error
        return
    assert torch.equal(torch.nan_to_num(x.double()), torch.nan_to_num(before.double()))
    assert fits(case, x, y) or case["form"] == "logits per image"
    if case["numbers"] != "finite":
        assert not found.clean_right.any()
        assert (found.predictions == NO_ANSWER).all()
        return
    pixels = x.double().flatten(1).numpy() / (255 if x.dtype == torch.uint8 else 1)
    right = truth(network, pixels, y.long().numpy())
    assert (found.clean_right == right.clean)[right.sure].all()
    assert (found.attacks["fgsm"].robust == right.robust)[right.sure].all()


def measured(network: nn.Module, x: Tensor, y: Tensor, fgsm: Any) -> tuple[Any, str]:
    """What `evaluate` gives, or None and what it says; any other exception is a failure."""
    try:
        return robustrun.evaluate(network, (x, y), {"fgsm": fgsm}), ""
    except (ValueError, TypeError) as error:
        return None, str(error)


class Scripted(nn.Module):
    """A linear network for TorchScript, whose outputs have one type."""

    def __init__(self, classes: int, size: int, factor: float, seed: int) -> None:
        super().__init__()
        drawn = np.random.default_rng(seed).normal(size=(classes, size + 1)) / size**0.5
        self.weight = nn.Parameter(torch.from_numpy(drawn[:, :-1]).float())
        self.bias = nn.Parameter(torch.from_numpy(drawn[:, -1]).float())
        self.factor = factor

    def logits(self, x: Tensor) -> Tensor:
        return (x.flatten(1).to(self.weight.dtype) @ self.weight.T + self.bias) * self.factor


class Plain(Scripted):
    def forward(self, x: Tensor) -> Tensor:
        return self.logits(x)


class Pair(Scripted):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.logits(x), x.mean()


class Named(Scripted):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.logits(x)}


class Shifts(Scripted):
    def forward(self, x: Tensor) -> Tensor:
        x.add_(0.25)
        return self.logits(x - 0.25)


class Rounds(Scripted):
    """Without a gradient, and with the same answers, since the digits have 17 grey levels."""

    def forward(self, x: Tensor) -> Tensor:
        return self.logits((x * 16).to(torch.int32).float() / 16)


PROGRAMS = (Plain, Pair, Named, Shifts, Rounds)


NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "classes", "size", "factor", "double", "seed"),
    [
        (Plain, 10, 64, 1.0, False, 0),
        (Pair, 10, 64, 1.0, True, 1),
        (Named, 10, 64, 1.0, False, 12),
        (Shifts, 10, 64, 1.0, True, 3),
        (Rounds, 10, 64, 1.0, False, 4),
        (Named, 10, 64, NAN, True, 5),
        (Pair, 1, 64, 1.0, False, 6),
        (Plain, 2, 64, 1.0, True, 7),
        (Shifts, 11, 64, 1.0, False, 8),
        (Pair, 10, 65, 1.0, False, 9),
        (Rounds, 11, 65, NAN, True, 10),
    ],
)
def test_the_command_line_gives_the_right_number_or_says_what_is_wrong(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    kind: type[Scripted],
    classes: int,
    size: int,
    factor: float,
    double: bool,
    seed: int,
) -> None:
    network = kind(classes, size, factor, seed).eval()
    folder = tmp_path_factory.mktemp("program")
    script(network.double() if double else network, folder / "net.pt")
    words = ["attack=fgsm", f"attack.epsilon={EPSILON}", "evaluation=none", "device.threads=1"]
    words += ["keep.figures=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code = run_command_line(["evaluate", "net.pt", "dataset=digits", *words])
    error = capsys.readouterr().err
    assert "Traceback" not in error
    possible = (classes, size) == (10, 64) and kind is not Rounds
    assert code == (0 if possible else 2), error
    if not possible:
        assert "net.pt" in error or "gradient" in error
        return
    results = json.loads(next(folder.glob("outputs/*/*/results.json")).read_text())
    clean, attack = results["evaluation"]["clean"], results["evaluation"]["attacks"][0]
    if factor != 1.0:
        assert (clean["correct"], attack["correct"]) == (0, 0)
        return
    data = load_config(composition.compose_config([])).dataset.load().test
    x, y = next(data.batches(len(data)))
    right = truth(network.float(), x.double().flatten(1).numpy(), y.numpy())  # type: ignore[arg-type]
    unsure = int((~right.sure).sum())
    assert unsure < 20
    assert abs(clean["correct"] - int(right.clean.sum())) <= unsure
    assert abs(attack["correct"] - int(right.robust.sum())) <= unsure


def script(network: nn.Module, path: Path) -> None:
    """TorchScript is deprecated, and still what many files are."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), path)  # type: ignore[no-untyped-call]
