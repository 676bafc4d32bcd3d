"""Measuring: robust accuracy, on linear networks."""

from evaluation.grey_images import measured, pgd
from robustrun.attacks.fgsm import FGSM
from robustrun.evaluation.statistics import accuracy


def test_robust_accuracy_of_a_linear_model_is_what_the_paper_and_pencil_say() -> None:
    # Distance to the boundary in linf is |level - 1/2|: 0.05 falls at radius 0.1, 0.2 stands.
    found = measured({"pgd": pgd(), "fgsm": FGSM("linf", 0.1)}, [0.45, 0.3, 0.7, 0.9], [0, 0, 1, 0])
    assert found.clean_right.tolist() == [True, True, True, False]
    assert found.attacks["pgd"].robust.tolist() == [False, True, True, False]
    assert found.attacks["fgsm"].robust.tolist() == [False, True, True, False]
    assert accuracy(found.worst_case) == 0.5  # clean errors count against it
