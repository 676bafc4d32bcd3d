"""Products with the Jacobian of the features, and systems of equations."""

import torch
from torch import Tensor

from attacks.networks_with_features import batch, network, written_out_features
from robustrun.attacks.perceptual.linearised import Linearised, conjugate_gradients
from robustrun.attacks.perceptual.lpips import PerceptualModel, normalised_features


def test_conjugate_gradients_solve_the_linear_system():
    torch.manual_seed(0)
    root = torch.rand(2, 4, 4, dtype=torch.float64)
    matrix = root @ root.mT + torch.eye(4, dtype=torch.float64)
    b = torch.rand(2, 1, 2, 2, dtype=torch.float64)

    def multiply(v: Tensor) -> Tensor:
        return (matrix @ v.view(2, 4, 1)).view_as(b)

    solved = torch.linalg.solve(matrix, b.view(2, 4, 1)).view_as(b)
    # Four unknowns are solved after four iterations; two more must do no harm.
    for steps in (4, 6):
        torch.testing.assert_close(conjugate_gradients(multiply, b, steps), solved)
    assert torch.equal(conjugate_gradients(multiply, torch.zeros_like(b), 3), torch.zeros_like(b))


def test_where_the_sign_of_a_curvature_is_lost_conjugate_gradients_stay():
    b = torch.tensor([3.0, 4.0]).view(2, 1, 1, 1)
    turned = torch.tensor([-1.0, 2.0]).view(2, 1, 1, 1)  # the first is negative: no minimum
    found = conjugate_gradients(lambda v: turned * v, b, 3)
    assert found.flatten().tolist() == [0.0, 2.0]


def test_the_products_with_the_jacobian_are_autograds():
    model = network().eval()
    x, _ = batch(model, 1)
    point = x.clone().requires_grad_()
    features = normalised_features(model.with_features(point)[1])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: written_out_features(model, v).flatten(), x
    ).flatten(1)
    v = torch.rand_like(x)
    here = Linearised(PerceptualModel(model, None), point, features, probe=1e-6)
    expected = jacobian @ v.flatten()
    # a finite difference over 1e-6 is right to about that share; the ReLUs keep their side
    torch.testing.assert_close(here.push(v).flatten(), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(here.push(torch.zeros_like(x)), torch.zeros_like(features))
    assert not here.push(v).requires_grad
    expected = jacobian.T @ expected
    torch.testing.assert_close(here.gram(v).flatten(), expected, rtol=1e-4, atol=1e-5)
