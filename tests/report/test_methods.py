"""Two groups of seeds compare methods; one run on either side compares two networks."""

from pathlib import Path

import numpy as np
import pytest
import run_folders

from robustrun.command_line.report import command
from robustrun.errors import DataError
from robustrun.report import collect, methods, uncertainty

SEEDS = {"standard": (30, 31, 32), "trades": (50, 54, 52)}


def group(root: Path, method: str, seeds: tuple[int, ...] = (0, 1, 2), first: int = 0) -> Path:
    for place, robust in zip(seeds, SEEDS[method], strict=False):
        results = run_folders.results(method, place + first, 90, robust)
        results["evaluation"]["worst_case"] = run_folders.score(robust)
        run_folders.run(root / str(place), results)
    return root


def test_methods_differ_by_the_mean_of_seeds_with_an_interval_over_both(tmp_path: Path) -> None:
    a = collect.find_runs([group(tmp_path / "a", "standard")])
    b = collect.find_runs([group(tmp_path / "b", "trades")])
    runs = methods.compare_methods(a, b)
    worst = runs.differences[-1]
    assert [entry.name for entry in runs.differences] == ["clean", "pgd", "worst_case"]
    assert (worst.a, worst.b) == (pytest.approx((0.31, 0.01)), pytest.approx((0.52, 0.02)))
    place = np.arange(100)
    one, other = (np.stack([place < n for n in SEEDS[name]]) for name in SEEDS)
    assert (worst.low, worst.high) == uncertainty.of_difference(one, other, paired=True)
    assert worst.low < 0.21 < worst.high
    said = methods.verdict(runs)
    assert said.startswith("Method B is better in the worst case, by 21.00 points.")
    assert "3 seeds that both have and the same 100 images" in said
    assert "Method A is better" in methods.verdict(methods.compare_methods(b, a))
    assert "Neither" in methods.verdict(methods.compare_methods(a, a))
    assert runs.settings == [("method.name", "standard", "trades")]


def test_seeds_that_one_side_lacks_are_left_out_and_other_seeds_are_not_paired(
    tmp_path: Path,
) -> None:
    a = collect.find_runs([group(tmp_path / "a", "standard")])
    b = collect.find_runs([group(tmp_path / "b", "trades", (1, 2))])
    runs = methods.compare_methods(a, b)
    assert (runs.paired, len(runs.a), [run.name for run in runs.left_out]) == (True, 2, ["0"])
    others = collect.find_runs([group(tmp_path / "c", "trades", first=7)])
    apart = methods.compare_methods(a, others)
    assert (apart.paired, len(apart.a), apart.left_out) == (False, 3, [])
    assert "3 seeds of A and 3 others of B" in methods.verdict(apart)


def test_a_side_is_one_method_with_several_seeds(tmp_path: Path) -> None:
    sweep = collect.find_runs([run_folders.sweep(tmp_path / "sweep")])
    with pytest.raises(DataError, match=r"runs of A differ in method.name \(standard, trades\)"):
        methods.compare_methods(sweep, sweep)
    with pytest.raises(DataError, match="A has 1 and B has 3 seeds"):
        methods.compare_methods(sweep[:1], sweep[3:])
    with pytest.raises(DataError, match="two runs of seed 0"):
        methods.compare_methods([sweep[0], collect.read(sweep[0].folder)], sweep[3:])
    wider = run_folders.results("standard", 1, 90, 31)
    wider["evaluation"]["attacks"][0]["epsilon"] = 0.5
    other = collect.read(run_folders.run(tmp_path / "wider", wider))
    with pytest.raises(DataError, match=r"A differ in pgd\.epsilon"):
        methods.compare_methods([sweep[0], other], sweep[3:])


@pytest.mark.parametrize(("number", "said"), [(10, "0.9)"), (12, "0.9, ...)")])
def test_a_message_stays_short_however_many_values_a_side_has(
    number: int, said: str, tmp_path: Path
) -> None:
    for place in range(number):
        results = run_folders.results("trades", 0, 90, 50)
        results["config"]["method"]["beta"] = place / 10
        run_folders.written(tmp_path / str(place), results)
    runs = collect.find_runs([tmp_path])
    with pytest.raises(DataError) as raised:
        methods.compare_methods(runs, runs)
    assert f"(0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, {said}" in str(raised.value)


def test_methods_judged_by_other_attacks_get_no_verdict(tmp_path: Path) -> None:
    a = collect.find_runs([group(tmp_path / "a", "standard")])
    for seed in range(2):
        results = run_folders.results("trades", seed, 90, 50)
        results["evaluation"]["attacks"][0]["epsilon"] = 0.5
        run_folders.run(tmp_path / "b" / str(seed), results)
    runs = methods.compare_methods(a, collect.find_runs([tmp_path / "b"]))
    assert [bool(entry.caution) for entry in runs.differences] == [False, True, True]
    assert "do not say which is better" in methods.verdict(runs)


def test_the_command_takes_folders_or_conditions(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep, (a, b) = (
        run_folders.sweep(tmp_path / "sweep"),
        map(str, (tmp_path / "a", tmp_path / "b")),
    )
    group(Path(a), "standard"), group(Path(b), "trades")
    assert command(["--compare", a, b]) == 0
    assert "Method B is better in the worst case, by 21.00 points." in capfd.readouterr().out
    assert command([str(sweep), "--compare", "method=standard", "method=trades"]) == 0
    shown = capfd.readouterr().out
    assert "Method B is better in the worst case, by 20.00 points." in shown
    assert "Common to all runs: data set cifar10" in shown
    assert command(["--compare", a, b, "--where", "seed=0"]) == 0
    assert "speaks of these two networks" in capfd.readouterr().out
    with pytest.raises(DataError, match="there is no such folder"):
        command(["--compare", a, str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match=r"it is a folder.*robustrun report --compare A B"):
        command([str(sweep), "--compare", a, b])
