"""A folder as a run has it when its tracker is told the end."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imsave


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a run has left when its tracker is told the end."""
    made = tmp_path / "run"
    (made / "figures").mkdir(parents=True)
    imsave(made / "figures" / "training.png", np.zeros((4, 6, 3)))
    for name in ("model.safetensors", "MODEL_CARD.md", "results.json"):
        (made / name).write_text("{}")
    return made
