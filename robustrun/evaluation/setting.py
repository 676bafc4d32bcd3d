"""How whatever is measured is measured: randomness, batches, device, and what is known already."""

import hashlib
from dataclasses import dataclass, field

import torch

from robustrun.storage.journal import Journal


@dataclass(frozen=True)
class Setting:
    """What every measurement is told, whichever it is."""

    seed: int
    batch_size: int
    device: torch.device
    precision: str = "float32"  # of searching; verdicts are float32 with either
    search_copy: bool = False  # whether a folded copy is searched with, also in float32
    journal: Journal = field(default_factory=Journal)  # what it has is not measured again

    def generator(self, name: str, batch: int) -> torch.Generator:
        """The randomness of one batch of the attack `name`: the same whatever ran before it."""
        digest = hashlib.sha256(f"{self.seed}/{name}/{batch}".encode()).digest()
        return torch.Generator(self.device).manual_seed(int.from_bytes(digest[:7], "big"))
