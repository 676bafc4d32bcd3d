"""The images of a batch that are still attacked."""

import torch

from robustrun.attacks.search.active import ActiveImages


def test_images_are_stored_in_the_rows_that_are_left() -> None:
    x = torch.arange(4.0).view(4, 1, 1, 1)
    active = ActiveImages(x)
    y, z = active.keep(torch.tensor([True, False, True, True]), x.flatten(), 10 * x.flatten())
    assert (y.tolist(), z.tolist()) == ([0.0, 2.0, 3.0], [0.0, 20.0, 30.0])
    active.store(-x[[1, 2, 3]], torch.tensor([True, False, True]))
    assert active.images.flatten().tolist() == [-1.0, 1.0, 2.0, -3.0]
    active.keep(torch.tensor([False, True, False]))
    assert len(active) == 1
    active.store(x[[3]] + 5)
    assert active.images.flatten().tolist() == [-1.0, 1.0, 8.0, -3.0]
    assert x.flatten().tolist() == [0.0, 1.0, 2.0, 3.0], "the batch itself stays"
