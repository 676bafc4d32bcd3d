"""The benchmarks' harness, on work of next to nothing: nothing is timed against anything."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import (
    arithmetic,
    autoattack,
    batch_sizes,
    bound,
    gpu,
    gpu_profile,
    growth,
    input_pipeline,
    inputs,
    many_runs,
    networks,
    overhead,
    packed,
    pgd_evaluation,
    reducer,
    scaling,
    screen,
    start_up,
    table,
    training_step,
)
from benchmarks.settings import TINY, Settings
from benchmarks.timing import Contestant, Row, compare, counted
from robustrun.compute.search_copy import search_copy
from robustrun.configuration import objects
from robustrun.configuration.catalogue import option_file
from robustrun.datasets import contents, files
from robustrun.errors import ConfigError
from robustrun.report import collect, summary
from robustrun.training import time_limit
from tests.report import run_folders

CPU = torch.device("cpu")
VARIED = ("method.name", "attack.epsilon", "method.beta", "seed")
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    cache = tmp_path_factory.mktemp("cache")
    return Settings(TINY, CPU, 0, 1, Path("/nowhere"), cache, deep=False)


@pytest.fixture(scope="module")
def data(settings: Settings) -> networks.Data:
    return networks.load_data(settings)


def test_without_cifar_the_digits_are_measured_and_named(data: networks.Data) -> None:
    assert data.name == "digits"
    assert data.train.shape == (1, 8, 8)


def test_a_network_is_trained_once(data: networks.Data, settings: Settings) -> None:
    first, second = (networks.trained("BN CNN", data, settings) for _ in range(2))
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert len(list(settings.cache.glob("BN-CNN-*"))) == 1


def test_contestants_take_turns_and_each_is_compared_with_the_fastest_peer() -> None:
    order: list[str] = []

    def run(name: str) -> float:
        order.append(name)
        return 0.5

    contestants = [
        Contestant("peer", lambda: run("peer")),
        Contestant("ours", lambda: run("ours"), ours=True),
    ]
    how = {"rounds": 3, "items": 10, "meaning": "share", "device": CPU}
    rows = compare("work", "-", contestants, **how)  # type: ignore[arg-type]
    assert order == ["peer", "ours"] * 4, "one turn to warm up, then three"
    assert [row.ratio for row in rows] == [1.0, rows[0].seconds / rows[1].seconds]
    ratios = [theirs / own for theirs, own in zip(rows[0].turns, rows[1].turns, strict=True)]
    assert rows[1].spread == (min(ratios), max(ratios))
    assert len(ratios) == 3
    assert all(row.found == 0.5 and row.fastest <= row.seconds <= row.slowest for row in rows)


def test_a_run_is_timed_until_a_line_of_its_log_and_then_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = "import sys, time; print('first INFO\\nsecond', file=sys.stderr, flush=True)\n"
    monkeypatch.setattr(start_up, "RUN", [sys.executable, "-c", f"{log}time.sleep(600)"])
    assert [start_up._until(part) for part in (" INFO", "second")] == [None, None]
    monkeypatch.setattr(start_up, "RUN", [sys.executable, "-c", log])
    assert math.isnan(start_up._until("third") or 0.0)


def test_operations_are_counted_as_on_paper() -> None:
    layer, x = nn.Conv2d(3, 5, 3, padding=1), torch.rand(2, 3, 8, 8)
    forward = 2 * (2 * 5 * 8 * 8) * (3 * 3 * 3)
    for gradient_of_x, passes in ((False, 2), (True, 3)):  # forward, weights, and the input
        with counted() as count:
            layer(x.clone().requires_grad_(gradient_of_x))
        assert count.flops == passes * forward
    with counted() as count, torch.no_grad():
        layer(x)
    assert count.flops == forward


def test_each_comparison_finds_what_can_be(data: networks.Data, settings: Settings) -> None:
    pgd = pgd_evaluation.rows(data, settings, {})
    steps = training_step.rows(data, settings, {})
    pipeline = input_pipeline.rows(data, settings, {}, workers=(0,))
    epoch = overhead.rows(data, settings)
    for rows in (steps[:2], steps[2:], epoch):
        assert [row.contestant for row in rows] == ["robustrun float32", "robustrun bfloat16"]
    auto = networks.runtime_for(settings, "auto", 1e12).precision
    assert [row.contestant for row in pgd] == ["robustrun float32", f"robustrun auto: {auto}"]
    assert steps[0].work == "TRADES training step"
    assert steps[2].work == "PGD-AT training step"
    found = [row.found for row in pgd]
    assert all(share is not None and 0 <= share <= 1 for share in found)
    losses = [row.found for row in steps]
    # The same weights and batch; bfloat16 keeps 8 bits of each logit.
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[2] == pytest.approx(losses[3], rel=0.05)
    means = [row.found for row in pipeline]
    assert means[0] == pytest.approx(means[1], rel=0.2), "the same images, cropped at random"
    assert all(row.found is not None and 0 < row.found < 1 for row in epoch)
    _check_table([*pgd, *steps, *pipeline, *epoch], settings.cache)


def test_networks_without_batch_norm_are_compared_if_they_are_named(
    data: networks.Data, settings: Settings
) -> None:
    chosen = replace(settings, networks=("ViT",), effort=0.02)
    rows = pgd_evaluation.rows(data, chosen, {}) + autoattack.rows(data, chosen, {})
    assert [row.network for row in rows] == ["ViT"] * 4
    assert rows[0].found == rows[1].found, "verdicts are float32 in both"


def test_what_is_wrong_as_it_is_counts_as_wrong_for_peers_too() -> None:
    class Brightness(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([0.5 - x.flatten(1)[:, 0], x.flatten(1)[:, 0] - 0.5], dim=1)

    x, y = torch.tensor([0.2, 0.4, 0.8, 0.9]).view(4, 1, 1, 1), torch.tensor([0, 1, 1, 0])
    # Brighter by 0.2: 0.4 becomes 0.6, which is right then; 0.9 stays wrong.
    run = pgd_evaluation.theirs(lambda model, x, y: x + 0.2, Brightness(), x, y, batch=3)
    assert run() == 2 / 4


def test_every_network_is_built_and_attacked(data: networks.Data) -> None:
    color = (3, 32, 32)
    for name, build in networks.NETWORKS.items():
        if name != "PreAct ResNet-18":
            model, x = build(color, 10).eval(), torch.rand(2, *color)
            copied = search_copy(model, x)
            assert copied is not None, name
            torch.testing.assert_close(copied(x), model(x))


def test_the_bound_is_what_the_passes_take(
    data: networks.Data, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    little = replace(settings, effort=0.01)
    told = bound.passes(little).splitlines()[2:]
    # One step and a first pass; 9 targets as often, and one pass for all of them to find these;
    # 9 times a step and its verdict; 50 queries. Then verdicts: before and after each run.
    assert [line.split(" | ")[0] for line in told] == [f"| {part}" for part in autoattack.PARTS]
    counts = [int(line.split(" | ")[1]) for line in told]
    assert counts == [2 * 2 + 2, 9 * 2 * 2 + 1 + 10, 9 * 3 + 1 + 10, 51 + 2]
    monkeypatch.setattr(bound, "BUSY", 0.01)
    lines = bound.rows("BN CNN", data, little)
    assert len(lines) == len(networks.PRECISIONS)
    for line in lines:
        assert line.startswith("| BN CNN | robustrun ")
        assert float(line.split(" | ")[-1].rstrip("% |")) > 0


def test_two_attacks_are_compared_image_by_image_and_their_passes_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = screen.Case("a network", "digits", "method=standard model=small_cnn", 256, 2, 40)
    monkeypatch.setattr(screen, "NAMES", ("pgd", "fgsm", "pgd_l2"))
    row = dict(
        zip(screen._header(("PGD", "FGSM")), screen.compared(case, settings, False), strict=True)
    )
    assert row["images"] == "40"
    alone = int(row["fooled by AutoAttack alone"]) - int(row["by the screen alone"])
    assert int(row["FGSM"]) - int(row["PGD"]) == alone
    assert row["passes, AutoAttack"] == "41", "20 steps forward and back, and a last look"
    assert row["passes, screen"] == "2"
    three = screen.compared(case, settings, True)
    assert len(three) == len(screen._header(screen.SHOWN)) == len(row) + 2
    assert three[:5] == list(row.values())[:5], "a network is trained once"
    monkeypatch.setattr(screen, "ALTERNATIVES", ("fgsm", "pgd attack.steps=3"))
    rows = list(screen.alternatives(case, settings))
    assert [cells[4] for cells in rows] == ["2", "7"]
    stands, missed = ([int(cells[place]) for cells in rows] for place in (2, 3))
    assert stands[0] - missed[0] == stands[1] - missed[1]


@pytest.mark.parametrize("case", screen.CASES, ids=lambda case: case.name)
def test_every_network_that_the_screen_is_compared_on_can_be_made(case: screen.Case) -> None:
    network = case.changed(
        networks.plain_config([*screen._words(case)]).model.build((3, 32, 32), 10)
    )
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert screen.attack_of(case, "screen").norm == screen.attack_of(case, "autoattack").norm


def _check_table(rows: list[Row], folder: Path) -> None:
    about = {"machine": "a test", "peers": {}, "peaks": {"GEMM float32": 1e9, "GEMM bfloat16": 2e9}}
    table.write(folder, rows, about)
    written = json.loads((folder / "benchmarks.json").read_text())
    assert len(written["rows"]) == len(rows)
    lines = (folder / "benchmarks.md").read_text().splitlines()
    cells = [line.count("|") for line in lines if line.startswith("|")]
    assert len(cells) == len(rows) + 2
    assert set(cells) == {len(table.HEADER) + 1}


def test_growth_is_measured_in_each_direction_and_fitted(
    data: networks.Data, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "WIDTHS", (0.5, 1.0))
    monkeypatch.setattr(growth, "SIDES", (8, 16))
    monkeypatch.setattr(growth, "SIDE", 8)
    monkeypatch.setattr(growth, "CLASSES", (10, 20))
    monkeypatch.setattr(growth, "CHANGES", {"steps": (1, 2), "batch": (16, 32)})
    monkeypatch.setattr(growth, "PGD", ["attack=pgd", "attack.steps=2", "attack.restarts=1"])
    rows = growth.rows(data, settings)
    assert len(rows) == 2 * 7
    fitted = [row.meaning for row in rows if row.meaning != "robust accuracy"]
    directions = ["steps", "batch", "parameters", "pixels", *["classes"] * 3]
    assert fitted == [f"exponent of {name}" for name in directions]
    standing = [row.found for row in rows[4:] if row.meaning == "robust accuracy"]
    assert standing == [1.0] * 5, "each image takes all steps"
    grown = [replace(rows[0], seconds=0.5 * size**1.5) for size in (2, 3, 8)]
    last = growth.with_exponent("size", (2, 3, 8), grown)[-1]
    assert last.found == pytest.approx(1.5)


def test_a_first_impression_leaves_out_most_sizes_and_a_slow_precision(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = replace(settings, quick=True)
    assert growth.series_of((5, 10, 20, 40), quick) == (5, 20)
    assert growth.series_of((5, 10, 20, 40), settings) == (5, 10, 20, 40)
    for has_units, precisions in ((False, ("float32",)), (True, ("float32", "bfloat16"))):
        monkeypatch.setattr(networks, "has_bfloat16_units", lambda kind, has=has_units: has)
        assert networks.training_precisions(quick) == precisions
        assert networks.training_precisions(settings) == ("float32", "bfloat16")


# --- what docs/scaling.md works out on paper ------------------------------------------------------


def test_the_page_on_scaling_has_the_tables_that_are_computed() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    missing = [
        name for name, text in scaling.tables(scaling.defaults()).items() if text not in page
    ]
    assert missing == [], "python -m benchmarks.scaling prints them"


def test_a_step_of_training_costs_what_its_passes_cost() -> None:
    assert scaling.pgd_at(3) == (4, 3 * 2 + 3), "three steps and an update"
    assert scaling.trades(10) == (12 + 1 / 3, 10 * 2 + 1 + 2 * 3)


def cells(text: str, row: int) -> list[str]:
    return text.splitlines()[row + 2].strip("| ").split(" | ")


def test_hours_money_and_sizes_are_those_worked_out_by_hand() -> None:
    values = scaling.defaults() | {"pairs-per-second": 1000, "eight-gpus": 4000, "gpu-price": 5}
    values |= {"imagenet-images": 1_200_000, "certified-samples": 108_000}
    # 90 x 1.2 million images, 4 pairs or 9 passes each: 120 hours, 90 hours. 8 GPUs are half as
    # good as 8 times one: 240 GPU hours, 30 hours of 8, 1,200 dollars.
    assert cells(scaling.imagenet(values), 1)[1:] == ["4", "90", "120", "30", "1,200"]
    # 10 x 101 x 2 forward passes in bfloat16, 9 x 100 x 3 + 5,001 at half the speed: 17,422, of
    # which 3 are a pair; for 2,500 of 5,000 images at 1,000 pairs in a second.
    assert scaling.autoattack_passes() == (2020, 7701)
    assert float(cells(scaling.autoattack(values), 0)[3]) == pytest.approx(
        2500 * 17_422 / 3 / 1000 / 3600, rel=0.005
    )
    # 500 x 108,000 forward passes, at 3,000 in a second: 5 hours.
    assert cells(scaling.certification(values), 0)[1:4] == ["54,000,000", "5", "25"]
    # 50 million files on a disk with an inode for each 16,384 bytes.
    assert cells(scaling.generated(values), 2)[2:4] == ["50,000,000", "819 GB"]


def test_what_scaling_says_of_the_package_is_so() -> None:
    values = scaling.defaults()
    assert values["digests"] == contents.MOST_RECORDS
    assert values["workers"] == files.MOST_WORKERS
    assert f"at most {values['workers']:.0f}" in option_file("dataset", "imagenet").read_text()


def fake_run(command: list[str], **_: object) -> None:
    folder = Path(command[-1].partition("=")[2])
    for name in ("config.yaml", "results.json", "checkpoint/last.ckpt", "figures/training.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x" * 500)


def test_what_is_measured_are_inputs_of_scaling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "ROUNDS", 1)
    monkeypatch.setattr(inputs, "DECODED", 2)
    monkeypatch.setattr(inputs, "WORDS", {"preact18": inputs.WORDS["preact18"]})
    monkeypatch.setattr(inputs.subprocess, "run", fake_run)
    values = dict(inputs.measured(tmp_path))
    measured = {name for name, _, source in scaling.INPUTS if source.endswith(scaling.MEASURED)}
    absent = {name for name in measured - set(values) if not name.startswith(("resnet", "wrn"))}
    assert absent == {"checkpoint-seconds"}, "that is ResNet-50's, which is left out here"
    assert set(values) <= measured
    assert values["preact18-parameters"] == pytest.approx(11.17, abs=0.005), "as published"
    assert values["run-entries"] == 7, "four files, two folders in the run, and the run"
    assert values["small-run-entries"] == 3
    assert (values["run-kilobytes"], values["small-run-kilobytes"]) == (2, 1)
    assert values["decoded-per-second"] > 0
    assert values["notes-per-second"] > 0


def test_an_input_of_scaling_is_an_argument(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["scaling", "--gpu-price", "3.5"])
    scaling.main()
    printed = capsys.readouterr().out.strip()
    assert printed == "\n\n".join(scaling.tables(scaling.defaults() | {"gpu-price": 3.5}).values())
    assert "| `--gpu-price` | 3.5 |" in printed


def test_packed_sweeps_are_compared_with_the_first() -> None:
    # 8 runs in 4, 2 and 8 minutes: 2 runs a minute; and twice as many, spread from 4 to 8.
    text = packed.markdown({1: [4.0, 2.0, 8.0], 2: [2.0, 1.0, 2.0]}, runs=8)
    assert cells(text, 0) == ["1", "2.0", "1.0 - 4.0", "1.00"]
    assert cells(text, 1) == ["2", "4.0", "4.0 - 8.0", "2.00"]


def test_one_flat_message_is_compared_with_torchs_reducer() -> None:
    text = reducer.markdown({"flat": [0.2, 0.3, 0.1], "DDP": [0.1, 0.1, 0.4]}, attack_steps=10)
    assert cells(text.partition("\n\n")[0], 0) == ["flat", "200", "100 - 300"]
    assert text.endswith("flat / DDP with 10 attack steps: 2.00")


def test_the_words_of_a_packed_run_replace_those_of_the_small_one() -> None:
    words = packed.overrides(["training.epochs=2", "method=pgd_at"])
    assert words == ["evaluation=none", "training.epochs=2", "method=pgd_at"]


def test_many_runs_are_made_like_one_and_differ_in_what_they_say(tmp_path: Path) -> None:
    like = run_folders.results("trades", 0, 90, 50, options={"method": "trades"})
    run = run_folders.run(tmp_path / "run", like)
    many_runs.make(run, tmp_path / "many", 203, seeds=2)
    runs = collect.find_runs([tmp_path / "many"])
    assert not any(run.problem for run in runs)
    assert len({run.folder.parent for run in runs}) == 3  # 100 in each sweep
    settings = [tuple(run.settings[key] for key in VARIED) for run in runs]
    assert len(set(settings)) == 203
    assert set(map(len, map(set, zip(*settings, strict=True)))) == {8, 5, 3, 2}
    for run in runs:
        assert run.evaluation is not None
        accuracies = summary.accuracies(run)
        assert accuracies["worst_case"] == min(accuracies.values())
        assert (run.folder / "metrics.csv").is_file()


# --- batch sizes ----------------------------------------------------------------------------------

RUN = ["method=standard", "device=cpu", "device.threads=1", "attack=fgsm", "evaluation=none"]
RUN += ["training.batch_size=100", "optimizer.lr=0.1", "training.ema_decay=0.99"]


def test_other_batch_sizes_are_measured_with_the_words_that_train_with_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pace(*given: Any) -> time_limit.Pace:
        size = given[4].training.batch_size
        if size == 800:
            raise torch.OutOfMemoryError("no room")
        return time_limit.Pace(size / 1000, math.ceil(len(given[2]) / size), 7.0)

    monkeypatch.setattr(batch_sizes, "measured_pace", pace)
    limit = ["training.seconds=10", "training.epochs=9"]
    batch_sizes.calibrate([*RUN, *limit], [100, 800, 400], 0.0)
    table = capsys.readouterr().out.partition("computed in\n")[2].splitlines()
    # 1,293 images in 13 steps of 0.1 s, and in 4 of 0.4 s
    assert table[0].split()[:8] == ["100", "100", "995", "1.3", "7", "0.1", "-", "7.0"]
    assert table[1] == "    robustrun " + " ".join([*RUN, *limit])
    assert table[2] == "       800  does not fit into the memory"
    assert table[3].split()[:8] == ["400", "400", "808", "1.6", "6", "0.2", "-", "7.0"]
    assert table[4].startswith("    robustrun method=standard ")
    training = objects.compose(table[4].split()[1:]).training
    assert (training.batch_size, training.ema_decay) == (400, pytest.approx(0.99**4, rel=1e-5))


def test_batch_sizes_of_several_processes_are_not_those_of_one() -> None:
    with pytest.raises(ConfigError, match=r"processes is 2, but .* measured in one"):
        batch_sizes.calibrate([*RUN, "device.processes=2"], None, 0.0)


def test_the_steps_of_a_batch_size_are_those_of_a_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["batch_sizes", *RUN, "--sizes", "400", "1294", "--seconds", "0"]
    monkeypatch.setattr(sys, "argv", command)
    assert batch_sizes.main() == 2
    assert "batch_size is 1294, but the training set has 1293 images" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", [word for word in command if word != "1294"])
    assert batch_sizes.main() == 0
    size, step, speed, epoch, epochs, *_ = capsys.readouterr().out.splitlines()[-2].split()
    assert (size, epochs) == ("400", "30"), "all, without a limit"
    assert float(epoch) == pytest.approx(4 * float(step) / 1000, rel=1e-3), "as printed"
    assert float(speed.replace(",", "")) == pytest.approx(1293 / float(epoch), rel=1e-3)


# --- what benchmarks/gpu.sh does ------------------------------------------------------------------


def shell(*words: object, **environment: str) -> str:
    """What gpu.sh says of its steps."""
    command = ["bash", str(ROOT / "benchmarks" / "gpu.sh"), *map(str, words)]
    told = os.environ | environment
    return subprocess.run(command, env=told, capture_output=True, text=True, check=True).stdout


def test_a_step_on_the_gpu_that_fails_or_takes_too_long_stops_no_other(tmp_path: Path) -> None:
    data, out, fake = tmp_path / "data", tmp_path / "out", tmp_path / "bin" / "python3"
    (data / "wheels").mkdir(parents=True)
    fake.parent.mkdir()
    fake.write_text("""#!/bin/sh
case "$*" in
  -|"- "*|"-c "*) exit 1;;
  *"benchmarks.gpu steps"*) echo half; exit 3;;
  *"benchmarks.gpu evaluation"*) echo half; exec sleep 60;;
  *) echo "$*";;
esac
""")
    fake.chmod(0o755)
    path = f"{fake.parent}:{os.environ['PATH']}"
    chosen = ("tests", "evaluation=1", "steps", "batch_sizes", "record", "profile=9")
    said = shell(out, data, *chosen, PATH=path)
    codes = [line.split(" after")[0] for line in said.splitlines()]
    assert codes == [
        "tests: exit code 0",
        "steps: exit code 3",
        "evaluation: exit code 124",
        "batch_sizes: exit code 0",
        "record: exit code 0",
        "profile: exit code 0",
    ]
    logs = {path.stem: path.read_text() for path in out.iterdir()}
    assert list(sorted(logs)) == ["evaluation", "profile", "record", "steps", "tests"]
    assert logs["evaluation"].startswith("half\nevaluation: exit code 124 after")
    assert "of 9 s" in logs["profile"]
    assert "-m device --device cuda" in logs["tests"]
    sizes, record = logs["record"].split("batch_sizes: exit code 0")
    assert "benchmarks.batch_sizes +experiment=record" in sizes
    assert "robustrun +experiment=record" in record
    assert "training.seconds=50" in record, "what its limit leaves"
    assert shell(out, data, "profile", PATH=path).count("exit code") == 1, "only what is named"


@pytest.mark.long
def test_each_step_on_the_gpu_leaves_its_files_also_without_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "data" / "wheels").mkdir(parents=True)
    names = ("steps", "evaluation", "batch_sizes", "record", "profile")
    steps = [f"{name}=600" for name in names]
    said = shell("--dry", tmp_path / "out", tmp_path / "data", *steps)
    assert said.count("exit code 0") == 5
    assert "No such file or directory" in said, "of the images"
    read = {path.name: path.read_text() for path in (tmp_path / "out").iterdir()}
    for name in ("steps", "evaluation"):
        rows = json.loads(read[f"{name}.json"])["rows"]
        assert rows
        assert all(row["seconds"] > 0 for row in rows)
        assert "failed" not in read[f"{name}.log"]
    assert json.loads(read["record.json"])["training"]["fitted_epochs"] in (1, 2)
    assert read["profile.log"].count("busy") == 6
    assert len(read) == 7, "and tests.log: few enough to be brought back from anywhere"


def row(contestant: str, seconds: float, ours: bool, work: str = "a step") -> Row:
    return Row(work, "-", contestant, ours, seconds, 1.0, 2.0, 3, 1, None, "", None)


def test_work_that_fails_leaves_the_rest_of_a_step_its_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks() -> list[Row]:
        raise RuntimeError("no compiler here")

    works = {
        "mine": lambda: [row("robustrun", 2.0, True)],
        "compiled": breaks,
        "official": lambda: [row("peer", 6.0, False), row("peer", 9.0, False, "another")],
    }
    rows = gpu.measured(works, tmp_path / "rows.json", {"machine": "a test"})
    assert [found.ratio for found in rows] == [3.0, 1.0, 1.0], "of the peer that came later"
    assert len(json.loads((tmp_path / "rows.json").read_text())["rows"]) == 3
    assert "compiled failed:" in (said := capsys.readouterr().out)
    assert "no compiler here" in said


def test_arithmetic_is_as_asked_for_while_the_work_is_done_and_as_before_afterwards() -> None:
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.benchmark
    seen = []
    for how in (arithmetic.AS_TORCH_COMES, arithmetic.FLOAT32, arithmetic.TF32):
        work = arithmetic.computed(lambda: seen.append((cudnn.allow_tf32, cudnn.benchmark)), how)
        work()
        assert (cudnn.allow_tf32, cudnn.benchmark) == before
    assert seen == [(True, False), (False, True), (True, True)]


def test_the_gpus_time_is_kernels_once_and_gaps_between_them() -> None:
    spans = [
        gpu_profile.Span("conv", 100.0, 200.0),
        gpu_profile.Span("copy", 150.0, 180.0),  # inside it
        gpu_profile.Span("conv", 190.0, 230.0),  # overlaps by 10
        gpu_profile.Span("relu", 235.0, 245.0),  # after 5: no gap
        gpu_profile.Span("conv", 345.0, 355.0),  # after 100
    ]
    found = gpu_profile.use(spans, 500e-6)
    assert found.busy == pytest.approx((130 + 10 + 10) / 500)
    assert (found.kernels, found.gaps) == (5, 1)
    assert found.in_gaps == pytest.approx(100 / 500)
    assert found.longest[0] == ("conv", pytest.approx(150 / 190))
    assert gpu_profile.use([], 1.0).busy == 0.0


def test_waits_of_the_host_are_counted_by_their_names() -> None:
    names = ["cudaLaunchKernel", "cudaStreamSynchronize", "Memcpy DtoH (Device -> Pageable)"]
    names += ["Memcpy HtoD (Pageable -> Device)", "cudaStreamSynchronize"]
    assert gpu_profile.waits(names) == {"cudaStreamSynchronize": 2, "copies to the host": 1}
    assert gpu_profile.waits(["aten::relu"]) == {}
