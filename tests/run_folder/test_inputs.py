"""What decides a run beside its configuration: files that it names, and no others."""

from pathlib import Path

import numpy as np
import pytest
from datasets.small_sets import digits

from robustrun.configuration.composition import compose_config
from robustrun.configuration.run_config import load_config
from robustrun.datasets.run_data import load
from robustrun.run_folder.inputs import _named_files, as_older_versions


def named(*words: str) -> list[str]:
    return sorted(_named_files(load_config(compose_config(list(words)))))


def weights(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder / "model.safetensors"


@pytest.mark.parametrize("folder", ["pgd_at", "trades", "uniform", "small_cnn", "linf", "train"])
def test_a_folder_that_is_called_as_an_option_is_no_input(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights(tmp_path / folder)
    assert named("method=pgd_at") == named("method=trades") == []


def test_files_that_a_configuration_names_are_inputs_wherever_the_key_is(tmp_path: Path) -> None:
    file = weights(tmp_path / "run")
    assert named(
        "method=pat", "method.lpips.network=run", f"method.lpips.weights={file.parent}"
    ) == [str(file)]
    corrupted = tmp_path / "c"
    corrupted.mkdir()
    (corrupted / "fog.npy").write_bytes(b"images")
    words = ("evaluation=corruptions", f"evaluation.corruptions.root={corrupted}")
    assert named(*words, "evaluation.corruptions.names=[fog]") == [str(corrupted / "fog.npy")]
    model = ("model=torchvision", "model.architecture=resnet18", f"model.weights={file}")
    assert named(*model) == [str(file)]


def test_what_older_versions_did_not_look_at_is_not_compared() -> None:
    data = load(digits(), 0.0, 0, lambda test: (test, np.arange(len(test))))
    now = {"test images": "1", "corrupted images in /c/fog": "2"}
    assert as_older_versions(now, {"test images": "1"}, data) == {"test images": "1"}
    assert as_older_versions(now, {**now, "corrupted images in /c/fog": "3"}, data) == now
