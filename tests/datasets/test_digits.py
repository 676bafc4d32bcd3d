"""The embedded digits."""

import torch

from datasets.small_sets import digits, whole


def test_digits_are_the_1797_of_the_source_split_in_file_order() -> None:
    splits = digits().load()
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    assert splits.train.shape == (1, 8, 8)
    assert splits.class_names == tuple("0123456789")
    x = whole(splits.train)
    assert x.dtype == torch.float32
    assert torch.equal(x.unique(), torch.arange(17) / 16)
    # The first ten digits of the source file, as its documentation shows them.
    assert splits.train.labels[:10].tolist() == list(range(10))
