"""Runs on other data or under other attacks are never averaged, whatever they are grouped by."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import run_folders

from robustrun.command_line.report import command
from robustrun.configuration import composition
from robustrun.configuration.run_config import load_config
from robustrun.evaluation.measure import choose_examples
from robustrun.report import (
    collect,
    grouping,
    judged,
    page,
    query,
    tables,
)
from robustrun.run_folder.schema import Subset

Results = dict[str, Any]


def radius(results: Results) -> None:
    results["config"]["attack"]["epsilon"] = 4 / 255


def norm(results: Results) -> None:
    results["config"]["attack"]["norm"] = "l2"


def data_set(results: Results) -> None:
    results["config"]["dataset"]["name"] = "cifar100"


def other_images(results: Results) -> None:
    results["evaluation"]["subset"]["fingerprint"] = "others"


def further_attack(results: Results) -> None:
    results["evaluation"]["attacks"].append(results["evaluation"]["attacks"][0] | {"name": "fab"})


def other_steps(results: Results) -> None:
    settings = results["evaluation"]["attacks"][0]["settings"] | {"steps": 50}
    results["evaluation"]["attacks"][0]["settings"] = settings


def file(results: Results) -> None:
    results["evaluated"] = {"source": "/models/foreign.safetensors", "weights_sha256": "abcdefghi"}


def measured_again(results: Results) -> None:
    results["evaluated"] = {"source": "/outputs/a_run", "weights_sha256": "abcdefghi"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (radius, "radius"),
        (norm, "norm"),
        (data_set, "data set"),
        (run_folders.long_tail, "class imbalance"),
        (other_images, "test images"),
        (run_folders.fewer_images, "test images"),
        (further_attack, "attacks"),
        (other_steps, "pgd.steps"),
        (file, "origin of the network"),
        (measured_again, "origin of the network"),
    ],
)
def test_what_was_judged_otherwise_is_kept_apart_and_that_is_said(
    tmp_path: Path, change: Callable[[Results], None], said: str
) -> None:
    for seed in range(4):
        results = run_folders.results("trades", seed, 90, 50 + seed)
        if seed > 1:
            change(results)
        run_folders.run(tmp_path / str(seed), results)
    runs = collect.find_runs([tmp_path])
    for keys in (["seed"], ["model.name"], []):
        parts = grouping.grouped(runs, keys)
        assert all(len({run.name in "01" for run in part.runs}) == 1 for part in parts)
    parts = grouping.grouped(runs, ["model.name"])
    assert len(parts) == 2
    page.write(tmp_path / "report.html", runs, parts)
    texts = [tables.markdown(runs, parts), tables.latex(runs, parts)]
    for text in [*texts, (tmp_path / "report.html").read_text()]:
        assert f"Not averaged together: runs that differ in {said}." in text


def test_by_a_method_s_setting_three_radii_give_three_rows(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for place, epsilon in enumerate((0.1, 0.2, 0.3)):
        attack = {"name": "pgd", "norm": "linf", "epsilon": epsilon}
        results = run_folders.results("trades", 0, 95, 70 - 20 * place, attack=attack)
        results["config"]["method"]["beta"] = 6.0
        run_folders.run(tmp_path / str(place), results)
    assert command([str(tmp_path), "--by", "method.beta", "--csv", str(tmp_path / "a.csv")]) == 0
    shown = capfd.readouterr().out
    assert "Not averaged together: runs that differ in radius." in shown
    assert all(f" {share}.00 " in shown for share in (70, 50, 30))
    assert "±" not in shown
    assert "60.00" not in shown  # which is no run's


def test_other_images_are_not_averaged(tmp_path: Path) -> None:
    for seed in range(2):
        results = run_folders.results("trades", seed, 90, 50)
        subset = {"size": 100, "of": 360, "chosen": "random", "fingerprint": f"of {seed}"}
        results["evaluation"]["subset"] = subset
        run_folders.run(tmp_path / str(seed), results)
    parts = grouping.grouped(collect.find_runs([tmp_path]), [])
    assert [part.title.split(" (random)")[0] for part in parts] == [
        "images=100 of 360 test images"
    ] * 2
    assert "Not averaged together: runs that differ in test images." in grouping.notes(parts)


def test_seeds_measure_the_same_images() -> None:
    raw = composition.compose_config(["evaluation.examples=30", "evaluation.choose=random"])
    run_config = load_config(raw)
    test = run_config.dataset.load().test
    _, indices = choose_examples(test, run_config.evaluation)
    assert len(set(indices.tolist())) == 30
    assert indices.max() > 60  # drawn from all of them
    other = load_config(raw | {"seed": 1})
    assert (choose_examples(test, other.evaluation)[1] == indices).all()


def test_a_key_that_follows_the_seed_is_not_averaged_over(tmp_path: Path) -> None:
    for seed in range(2):
        results = run_folders.results("trades", seed, 90, 50 - 30 * seed)
        results["config"]["training"] = {"epochs": 10 + seed}
        run_folders.run(tmp_path / str(seed), results)
    runs = collect.find_runs([tmp_path])
    keys = query.keys_of_groups(runs, [])
    assert keys == ["training.epochs"]
    assert [len(part.runs) for part in grouping.grouped(runs, keys)] == [1, 1]


def test_the_same_network_twice_is_one(tmp_path: Path) -> None:
    for name in ("a", "b"):
        recipe = {"epochs": 30 if name == "a" else 40}  # which something else has overridden
        run_folders.run(tmp_path / name, run_folders.results("trades", 0, 90, 50, recipe=recipe))
        again = run_folders.results("trades", 0, 90, 50)
        measured_again(again)
        run_folders.run(tmp_path / f"{name}_again", again)
    runs = collect.find_runs([tmp_path])
    parts = grouping.grouped(runs, ["method.name"])
    spreads = [part.spread("clean") for part in parts]
    assert [(spread.runs, spread.deviation) for spread in spreads if spread] == [(1, None)] * 2
    assert "Counted once: b, b_again" in tables.note(parts)


def test_of_many_networks_that_are_there_twice_the_first_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MOST_REPEATS", 2)
    for place in range(5):
        run_folders.written(tmp_path / str(place), run_folders.results("trades", 0, 90, 50))
    parts = grouping.grouped(collect.find_runs([tmp_path]), ["method.name"])
    assert "Counted once: 1, 2 and 2 more (the same network as another run)." in tables.note(parts)


def test_what_a_run_keeps_makes_it_no_other(tmp_path: Path) -> None:
    """Runs of an earlier version have no such key, and are seeds of the same method."""
    run_folders.run(tmp_path / "early", run_folders.results("trades", 0, 90, 50))
    for seed, figures in enumerate((True, False), 1):
        keep = {"checkpoint": figures, "figures": figures}
        run_folders.run(
            tmp_path / f"{seed}", run_folders.results("trades", seed, 90, 50, keep=keep)
        )
    runs = collect.find_runs([tmp_path])
    (part,) = grouping.grouped(runs, query.keys_of_groups(runs, []))
    assert len(part.runs) == 3
    twice = run_folders.results("trades", 0, 90, 50, keep={"checkpoint": False})
    run_folders.run(tmp_path / "twice", twice)
    (part,) = grouping.grouped(collect.find_runs([tmp_path]), [])
    assert [run.name for run in part.repeats] == ["twice"]


def test_a_file_that_was_measured_is_no_method(tmp_path: Path) -> None:
    results = run_folders.results("trades", 0, 90, 50, training={"epochs": 30})
    file(results)
    (runs,) = collect.find_runs([run_folders.run(tmp_path / "0", results)])
    assert runs.settings["method.name"] == "foreign.safetensors"
    assert not any(key.startswith("training.") for key in runs.settings)
    assert "method foreign.safetensors" in judged.common([runs])


def test_what_all_runs_share_heads_tables_and_page(tmp_path: Path) -> None:
    runs = collect.find_runs([run_folders.sweep(tmp_path / "sweep")])
    parts = grouping.grouped(runs, ["method.name"])
    shared = "data set cifar10, norm linf, radius 8/255, attack pgd, all 100 test images."
    assert shared in judged.common(runs)
    assert "method" not in judged.common(runs)
    assert "method trades" in judged.common(runs[3:])
    assert shared in tables.markdown(runs, parts).splitlines()[0]
    assert shared in tables.latex(runs, parts)
    page.write(tmp_path / "report.html", runs, parts)
    assert shared in (tmp_path / "report.html").read_text().split("<main>")[0]


def test_words_say_which_images_were_measured(tmp_path: Path) -> None:
    folder = run_folders.run(tmp_path / "0", run_folders.results("trades", 0, 90, 50))
    evaluation = collect.read(folder).evaluation
    assert evaluation is not None
    assert evaluation.images == "all 100 test images"
    part = replace(evaluation, subset=Subset(size=100, of=360, chosen="random"))
    assert part.images == "100 of 360 test images (random)"
