"""The fixtures of golden tests."""

from tests.golden import (  # noqa: F401 (pytest finds them here)
    assert_golden,
    batches,
    golden_step,
    learner,
    network,
    reference_climb,
)
