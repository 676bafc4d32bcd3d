"""report.html in a real browser: it sorts and draws, asks nobody, and what runs say is inert."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import run_folders

from robustrun.report import collect, grouping, page, query

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
POISON = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"


def written(root: Path, path: Path) -> Path:
    runs = collect.find_runs([root])
    page.write(path, runs, grouping.grouped(runs, query.keys_of_groups(runs, [])))
    return path


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs over a swept number, one doubtful, one damaged, one that says what it should not."""
    root = run_folders.sweep(tmp_path_factory.mktemp("outputs") / "sweep")
    for number, radius in enumerate((0.1, 0.2)):
        swept = run_folders.results("trades", 0, 80, 40, sweeping={"radius": radius})
        run_folders.run(root / f"1{number}", swept)
    doubtful = run_folders.results(POISON, 0, 95, 94)
    doubtful["evaluation"]["audit"] = [{"check": POISON, "status": "fail", "why": POISON}]
    doubtful["dataset"]["class_names"] = [POISON, "dog"]
    doubtful["run"]["command"] = POISON
    run_folders.run(root / "20", doubtful)
    run_folders.run(
        root / "<img src=x onerror=alert(1)>", run_folders.results("standard", 7, 60, 20)
    )
    (root / "30").mkdir()
    (root / "30" / "results.json").write_text(POISON)
    return written(root, root / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("chromium and chromedriver are not installed (apt install chromium-driver)")
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield started
    started.quit()


@pytest.fixture
def opened(browser: Any, report: Path) -> Any:
    browser.get(report.as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    return browser


def until(browser: Any, script: str) -> None:
    for _ in range(300):  # a busy machine draws slowly
        if browser.execute_script(script):
            return
        time.sleep(0.1)
    raise AssertionError(f"never true: {script}; {browser.get_log('browser')}")


def column(browser: Any, place: int) -> list[str]:
    rows = "[...document.querySelectorAll('#runs tbody tr')]"
    script = f"return {rows}.map(row => row.cells[arguments[0]].dataset.value)"
    cells: list[str] = browser.execute_script(script, place)
    return cells


def test_no_request_is_made_and_no_error_told(opened: Any) -> None:
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []
    assert len([url for url in asked if url.startswith("file://")]) == 1  # the page itself
    assert opened.get_log("browser") == []


def test_the_table_sorts_by_a_click_and_back(opened: Any) -> None:
    heads = opened.execute_script(
        "return [...document.querySelectorAll('#runs th')].map(h => h.textContent)"
    )
    place = heads.index("worst_case (%)")
    click = f"document.querySelectorAll('#runs th button')[{place}].click()"
    opened.execute_script(click)
    downwards = [float(cell) for cell in column(opened, place) if cell]
    assert downwards == sorted(downwards, reverse=True)
    opened.execute_script(click)
    assert [float(cell) for cell in column(opened, place) if cell] == downwards[::-1]
    assert column(opened, place)[-1] == ""  # the damaged one, last either way


def test_the_charts_are_there_and_the_front_is_marked(opened: Any) -> None:
    drawn = opened.execute_script(
        "return [...document.querySelectorAll('.js-plotly-plot')].map(c => [c.id, c.data.length])"
    )
    charts = dict(drawn)
    assert set(charts) >= {"pareto", "radius", "training", "classes"}
    assert all(charts.values())
    script = "return document.getElementById('pareto').data.find(t => t.name === arguments[0])"
    front = opened.execute_script(script, "Pareto front")
    assert (front["x"], front["y"]) == ([95], [92])  # better than every other in both
    published = opened.execute_script(script, "published, not run here")
    assert 84.92 in published["x"]


def test_points_are_groups_with_intervals_and_the_front_is_drawn_over_them(
    browser: Any, tmp_path: Path
) -> None:
    """The best single run is a lucky seed of the method that is worse in the mean."""
    for seed, (steady, lucky) in enumerate([(50, 62), (51, 40), (52, 39)]):
        run_folders.run(tmp_path / f"{seed}", run_folders.results("steady", seed, 90, steady))
        run_folders.run(tmp_path / f"1{seed}", run_folders.results("lucky", seed, 90, lucky))
    browser.get(written(tmp_path, tmp_path / "report.html").as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    traces = browser.execute_script(
        "return document.getElementById('pareto').data.map(t => "
        "[t.name, t.x, t.y, t.error_y && [t.error_y.array[0], t.error_y.arrayminus[0]]])"
    )
    fronts = [(x, y) for name, x, y, _ in traces if name == "Pareto front"]
    assert fronts == [([90], [49])]  # worst_case is 2 points below pgd
    points = {name: (y, bars) for name, _, y, bars in traces if bars}
    assert points["lucky"][0] == [45]
    assert points["steady"][1] == pytest.approx([10, 9.9], abs=0.3)
    assert points["lucky"][1][0] > 20  # the spread of its seeds
    runs = [sorted(y) for name, _, y, bars in traces if name == "lucky" and not bars]
    runs = [shares for shares in runs if shares != [None]]  # the legend's entry
    assert runs == [[37, 38, 60]]


def test_radii_are_shown_as_they_are_typed(browser: Any, tmp_path: Path) -> None:
    for number, levels in enumerate((8, 16)):
        attack = {"name": "pgd", "norm": "linf", "epsilon": levels / 255}
        run_folders.run(tmp_path / f"{number}", run_folders.results("a", 0, 90, 40, attack=attack))
    browser.get(written(tmp_path, tmp_path / "report.html").as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    axes = "return ['radius', 'sweep-0'].map(id => document.getElementById(id).layout.xaxis)"
    curve, swept = browser.execute_script(axes)
    assert curve["ticktext"] == ["0", "2/255", "4/255", "6/255", "8/255"]
    assert swept["ticktext"] == ["0", "4/255", "8/255", "12/255", "16/255"]
    assert swept["tickvals"] == pytest.approx([0, 4 / 255, 8 / 255, 12 / 255, 16 / 255])
    points = "return document.getElementById('radius').data[0].customdata"
    assert browser.execute_script(points) == ["0", "8/255"]
    details = "document.querySelector('button.more').click(); const box = document.getElementById("
    cells = browser.execute_script(f"{details}'details'); return box.textContent")
    assert "attack.epsilon8/255" in cells


def test_a_narrow_page_does_not_scroll_sideways(browser: Any, report: Path) -> None:
    size = {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(report.as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 400
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("width", "is_below"), [(400, True), (500, True), (1200, False)])
def test_a_legend_is_below_its_chart_on_a_narrow_screen_and_leaves_it_room(
    width: int, is_below: bool, browser: Any, tmp_path: Path
) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(written(grid(tmp_path), tmp_path / "report.html").as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    for name in ("pareto", "radius", "training", "classes"):
        legend, title = browser.execute_script(
            "const chart = document.getElementById(arguments[0]);"
            "return ['.legend', '.g-xtitle']"
            ".map(part => chart.querySelector(part).getBoundingClientRect().toJSON())",
            name,
        )
        area = browser.execute_script(
            f"const s = document.getElementById('{name}')._fullLayout._size; return [s.w, s.h]"
        )
        assert min(area) > 200
        assert (legend["top"] >= title["bottom"]) == is_below
        assert legend["right"] <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def grid(root: Path) -> Path:
    """Runs of two methods at three radii, of which one was measured twice."""
    for number, (method, radius) in enumerate(product(("standard", "trades"), (0.3, 0.1, 0.2))):
        attack = {"name": "pgd", "norm": "linf", "epsilon": radius}
        results = run_folders.results(method, 0, 80, 40, attack=attack)
        run_folders.run(root / str(number), results)
    run_folders.run(root / "99", results)
    return root


def test_colours_stand_for_the_first_key_and_symbols_for_the_others(
    browser: Any, tmp_path: Path
) -> None:
    browser.get(written(grid(tmp_path), tmp_path / "report.html").as_uri())
    until(browser, "return document.body.dataset.ready === 'yes'")
    drawn = browser.execute_script(
        "return document.getElementById('pareto').data.filter(t => t.error_y)"
        ".map(t => [t.name, t.marker.color, t.marker.symbol])"
    )
    looks = {name: (colour, symbol) for name, colour, symbol in drawn}
    methods, radii = ("standard", "trades"), ("0.1", "0.2", "0.3")
    colours = [{looks[f"{method}, epsilon={radius}"][0] for radius in radii} for method in methods]
    symbols = [{looks[f"{method}, epsilon={radius}"][1] for method in methods} for radius in radii]
    assert [len(values) for values in (*colours, *symbols)] == [1] * 5
    assert (len(set.union(*colours)), len(set.union(*symbols))) == (2, 3)
    legend = browser.execute_script(
        "return document.getElementById('radius').data.filter(t => t.showlegend).map(t => t.name)"
    )
    same = "the same network as another run"
    assert legend == [*methods, *(f"epsilon={radius}" for radius in radii), same]
    assert browser.get_log("browser") == []


def test_numbers_that_nobody_audited_have_no_mark_and_that_is_said_once(tmp_path: Path) -> None:
    text = written(run_folders.sweep(tmp_path), tmp_path / "report.html").read_text()
    assert text.count("No number was audited") == 1
    assert 'class="audit' not in text
    audited = run_folders.results("trades", 9, 80, 40, sweeping={"radius": 0.1})
    audited["evaluation"]["audit"] = [{"check": "c", "status": "warn", "why": "w"}]
    run_folders.run(tmp_path / "9", audited)
    text = written(tmp_path, tmp_path / "report.html").read_text()
    assert text.count("Numbers without a verdict were not audited") == 1
    assert text.count('class="audit warn"') == 1 + 2 * 3  # the head, then both tables


@pytest.mark.parametrize(("clean", "attacked"), [(0, 0), (0, 3), (2, 5)])
def test_answers_that_are_no_numbers_are_counted(clean: int, attacked: int, tmp_path: Path) -> None:
    results = run_folders.results("trades", 0, 80, 40)
    results["evaluation"]["clean"]["non_finite"] = clean
    results["evaluation"]["attacks"][0]["non_finite"] = attacked
    run_folders.run(tmp_path / "0", results)
    text = written(tmp_path, tmp_path / "report.html").read_text()
    for count in (clean, attacked):
        assert (f"<small>{count} without an answer</small>" in text) == (count > 0)
    assert ("NaN or infinite" in text) == (clean + attacked > 0)


def test_a_filter_narrows_table_and_charts(opened: Any) -> None:
    field = "document.getElementById('filter')"
    opened.execute_script(f"{field}.value = 'standard'; {field}.dispatchEvent(new Event('input'))")
    lines = "document.getElementById('radius').data.filter(t => !t.showlegend)"
    until(opened, f"return {lines}.length === 4")
    assert opened.execute_script("return document.getElementById('shown').textContent") == "4 shown"


def test_details_of_a_run_are_shown_as_text(opened: Any) -> None:
    opened.execute_script("document.querySelectorAll('button.more').forEach(b => b.click())")
    shown = opened.execute_script("return document.getElementById('details').textContent")
    assert "Command" in shown
    assert opened.title == "robustrun report"  # what runs say has not run
    assert (
        opened.execute_script("return document.querySelectorAll('img[src=x], td script').length")
        == 0
    )


def test_a_dark_screen_gets_a_dark_page(opened: Any) -> None:
    def background() -> str:
        runs: str = opened.execute_script("return getComputedStyle(document.body).backgroundColor")
        return runs

    seen = set()
    for scheme in ("light", "dark"):
        opened.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        seen.add(background())
        until(opened, "return getComputedStyle(document.body).backgroundColor.length > 0")
    assert len(seen) == 2


def test_the_page_prints(opened: Any) -> None:
    printed = opened.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(printed["data"]) > 20_000  # base64 of a PDF with tables and charts


def test_what_a_run_says_is_escaped_and_nothing_external_is_named(report: Path) -> None:
    text = report.read_text()
    visible = re.sub(r'<script type="application/octet-stream".*?</script>', "", text, flags=re.S)
    assert POISON not in visible
    assert "<img src=x" not in visible
    assert not re.search(r"""(src|href)=["'](https?:)?//""", visible)
    assert "Content-Security-Policy" in visible
    assert "audit fail" in visible


def test_a_thousand_runs_fit(tmp_path: Path) -> None:
    """Under 3 MB, with as many images as there is room for."""
    one = run_folders.results("trades", 0, 85, 52)
    runs = [
        collect.StoredRun(
            tmp_path / str(number),
            run_folders.record(
                one
                | {
                    "config": one["config"]
                    | {"seed": number, "method": {"name": "trades", "beta": number % 10}}
                }
            ),
        )
        for number in range(1000)
    ]
    run_folders.run(tmp_path / "0", one)
    grouped = grouping.grouped(runs, ["method.beta"])
    page.write(tmp_path / "report.html", runs, grouped)
    text = (tmp_path / "report.html").read_text()
    assert len(text.encode()) < 3_000_000
    assert text.count("<tr data-row=") == 1000 + 10
    assert text.count("data:image/webp") == 1


def test_of_many_folders_that_cannot_be_read_the_first_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MOST_PROBLEMS", 2)
    run_folders.run(tmp_path / "0", run_folders.results("trades", 0, 85, 52))
    for name in ("1", "2", "3"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text("{")
    text = written(tmp_path, tmp_path / "report.html").read_text()
    assert [f"<li>{name}: " in text for name in "123"] == [True, True, False]
    assert "1 further folders could not be read; summary.csv has them." in text
