"""README and docs/: their files, and the folders that their commands speak of."""

from pathlib import Path

from tests.report import run_folders

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def title(page: Path) -> str:
    """The place of a page in the repository: docs/how-to/README.md."""
    return page.relative_to(ROOT).as_posix()


def make_reported(folder: Path) -> None:
    """Every path of a `robustrun report`: two methods with three seeds each, or one of them."""
    attack = {"name": "pgd", "norm": "linf", "epsilon": 0.1}
    sides = {"A": [("standard", 30)], "B": [("trades", 60)]}
    both = [*sides["A"], *sides["B"]]
    places = {f"{place}{side}": sides[side] for side in "AB" for place in ("", "outputs/SWEEP_")}
    places |= {f"outputs/{side}": sides[side] for side in "AB"}
    names = ("outputs/SWEEP", "SWEEP", "PATH", "outputs/2026-01-31", "outputs/two-methods")
    places |= dict.fromkeys((*names, "outputs/sweep", "outputs/at-once"), both)
    for place, methods in places.items():
        for method, robust in methods:
            for seed in range(3):
                content = run_folders.results(method, seed, 90, robust + seed, attack=attack)
                run_folders.run(folder / place / f"{method}{seed}", content)
