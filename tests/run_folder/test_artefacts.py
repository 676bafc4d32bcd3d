"""What a run writes beside its results."""

from pathlib import Path

import torch

from robustrun.run_folder import artefacts


def test_weights_come_back_and_the_file_is_the_same_each_time(tmp_path: Path) -> None:
    state = {"a": torch.rand(3, 2).T, "b": torch.tensor(3)}
    about = {"model": "m", "version": "1"}
    for name in ("one", "two"):
        artefacts.write_weights(tmp_path / name, state, about)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    loaded = artefacts.safetensors.torch.load_file(tmp_path / "one")
    assert torch.equal(loaded["a"], state["a"])
