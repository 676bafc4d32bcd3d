"""What strangers may know of a run: no folder, machine or account, and all else."""

import json
from typing import Any

import pytest

from robustrun.run_folder.portable import clean, portable
from tests.report import run_folders

HOME = "/home/ada/secret"


def results(**config: Any) -> dict[str, Any]:
    content = run_folders.results("trades", 3, 85, 52, **config)
    content["environment"] |= {"host": "adas-machine", "device_name": "CPU/GPU 3"}
    return content


def test_a_run_with_nothing_private_stays_as_it_is() -> None:
    record = run_folders.record(run_folders.results("trades", 3, 85, 52))
    made = portable(record)
    assert json.loads(json.dumps(made.results)) == json.loads(json.dumps(record.to_json()))
    assert made.changes == {}


def test_machine_folders_and_accounts_are_gone_and_said() -> None:
    content = results(
        tracker={"name": "wandb", "entity": "ada", "project": "secret"},
        options={"tracker": "wandb", "method": "trades"},
    )
    content["config"]["dataset"] |= {"root": f"{HOME}/data", "epsilon": {"linf": 8 / 255}}
    content["config"]["model"] = {"name": "resnet18", "weights": "~/nets/a.pt"}
    content["run"] |= {
        "command": f"robustrun 'dataset.root={HOME}/my data' tracker=wandb attack.epsilon=8/255",
        "overrides": [f"dataset.root={HOME}/my data", "tracker=wandb", "+tracker.entity=ada"],
        "lost": {"figures": f"No such file: '{HOME}/x.png'"},
    }
    content["evaluated"] = {"source": f"{HOME}/outputs/1", "kind": "run"}
    made = portable(run_folders.record(content))
    text = json.dumps(made.results)
    for word in ("ada", "secret", "~", "wandb", "home"):
        assert word not in text
    run, config = made.results["run"], made.results["config"]
    assert run["command"] == "robustrun 'dataset.root=my data' attack.epsilon=8/255"
    assert run["overrides"] == ["dataset.root=my data"]
    assert run["lost"] == {"figures": "No such file: 'x.png'"}
    assert config["dataset"]["root"] == "data"
    assert config["model"]["weights"] == "a.pt"
    assert (config["tracker"], config["options"]["tracker"]) == ({"name": "none"}, "none")
    assert made.results["environment"]["device_name"] == "CPU/GPU 3"
    assert made.changes["environment.host"] == "left out"
    assert made.changes["config.tracker"] == "left out"
    assert made.changes["config.dataset.root"] == f"{HOME}/data -> data"


def test_a_command_that_is_none_of_a_shell_is_cleaned_as_text() -> None:
    content = results()
    content["run"]["command"] = f"robustrun.run(config) of '{HOME}/x"
    assert portable(run_folders.record(content)).results["run"]["command"] == (
        "robustrun.run(config) of 'x"
    )


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/data/my images", "my images"),
        ("dataset.root=/data/my images", "dataset.root=my images"),
        ("+a.b@c=~/x", "+a.b@c=x"),
        (r"C:\Users\ada\data", "data"),
        (r"the file C:\Users\ada\data.", "the file data."),
        (r"\\server\share\data", "data"),
        ("file:///etc/passwd", "passwd"),
        ("plugins=[a,/x/y]", "plugins=[a,y]"),
        ("not '/a/b c': no", "not 'b c': no"),
        ("//server/share/data", "data"),
    ],
)
def test_of_a_path_the_last_part_stays(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@pytest.mark.parametrize(
    "text",
    ["8/255", "attack.epsilon=8/255", "data/images", "https://a.b/c/d", "a / b", "1/2, 3/4", ""],
)
def test_what_is_no_absolute_path_stays(text: str) -> None:
    assert clean(text) == text
