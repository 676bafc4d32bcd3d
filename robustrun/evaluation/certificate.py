"""Certified accuracy in l2 by randomised smoothing (Cohen et al. 2019,
https://arxiv.org/abs/1902.02918, section 3.2.2, CERTIFY).

What is certified is not the network but the *smoothed classifier*, which answers with the class
that the network gives most often to an image with Gaussian noise, x + sigma N(0, I), not clipped to
the image box. Within sigma Phi^-1(p) of the image, where p is at most the share of that class, no
point has another answer. p is the exact lower bound of what `samples` noisy copies voted for; other
copies chose the class. So a certificate is wrong with a probability of at most `alpha`.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from robustrun import console
from robustrun.compute.predictions import NO_ANSWER, predicted
from robustrun.compute.threads import single_threaded_between_passes
from robustrun.evaluation.measurement import Subject
from robustrun.evaluation.outcome import Certificates, Evaluation
from robustrun.evaluation.setting import Setting
from robustrun.evaluation.settings import Certificate
from robustrun.evaluation.shards import batches_of, findings
from robustrun.evaluation.statistics import accuracy, lower_bound
from robustrun.evaluation.table import as_text
from robustrun.types import LearnsNoise

log = logging.getLogger(__name__)
NAME = "certificate"
DRAWN = 500  # noisy copies at a time: a fixed number, so that no vote depends on the batch size


@dataclass(frozen=True)
class CertifiedRadii:
    """The radius that is certified around every `plan.every`-th image."""

    plan: Certificate

    def measure(self, subject: Subject, before: Evaluation, setting: Setting) -> Evaluation:
        began, plan = time.monotonic(), self.plan
        _warn_of_reach(plan)
        places = torch.arange(0, len(subject.images), plan.every)
        keys = [f"{NAME} {place}" for place in places.tolist()]
        known = [note for note in map(setting.journal.recall, keys) if note is not None]
        earlier = sum(note["seconds"] for note in known)  # of an evaluation that was interrupted
        notes = findings(keys, partial(_voted, plan, subject, setting, places), setting.journal)
        pairs = [certified(note["answer"], note["votes"], plan) for note in notes]
        answers, radii = (np.array(column) for column in zip(*pairs, strict=True))
        seconds = time.monotonic() - began + earlier
        found = Certificates(plan, places.numpy(), answers, radii, seconds)
        right = found.right(before.labels)
        log.info("smoothed accuracy %.2f%% of %d images", 100 * accuracy(right), len(right))
        return replace(before, certificates=found)


def certified(answer: int, votes: int, plan: Certificate) -> tuple[int, float]:
    """The class that the smoothed classifier gives, and the l2 radius in pixel units within which
    it gives no other, from `votes` of `plan.samples` copies for it; (NO_ANSWER, 0) where they do
    not show that most noisy copies are of this class (it abstains)."""
    share = lower_bound(votes, plan.samples, plan.alpha)
    if share <= 0.5:
        return NO_ANSWER, 0.0
    return answer, plan.sigma * NormalDist().inv_cdf(share)


def warn_of_other_noise(plan: Certificate | None, method: object) -> None:
    """A warning where `method` trains with other noise than the network is certified with. A
    network that learns no noise may be certified on purpose: nothing is said of it."""
    if plan is None or not isinstance(method, LearnsNoise) or method.gaussian_noise == plan.sigma:
        return
    trained, sigma = as_text(method.gaussian_noise), as_text(plan.sigma)
    log.warning(
        "evaluation.certificate.sigma is %s, but the training has noise of %s: certificates hold "
        "with any noise, and usually reach furthest with that of the training",
        sigma,
        trained,
    )


def _warn_of_reach(plan: Certificate) -> None:
    """A warning where even an image whose copies all agree is certified less far than is asked."""
    reach = certified(0, plan.samples, plan)[1]
    if max(plan.radii, default=0.0) > reach:
        log.warning(
            "evaluation.certificate: with noise of %.4g and %d samples no radius above %.4g can be "
            "certified, and radii has %.4g",
            *(plan.sigma, plan.samples, reach, max(plan.radii)),
        )


def _voted(
    plan: Certificate, subject: Subject, setting: Setting, places: Tensor, numbers: list[int]
) -> Iterator[tuple[int, dict[str, float]]]:
    """What the journal is to know of the images of these numbers: a class, and its votes."""
    network = subject.networks.exact
    vote = partial(_votes, network, plan.sigma, subject.classes, setting.batch_size)
    stream = batches_of(subject.images, places, numbers, 1, setting.device)
    with console.bar(NAME, len(places), len(places) - len(numbers), images=1) as bar:
        for number, (x, _) in zip(numbers, stream, strict=True):
            began = time.monotonic()
            generator = setting.generator(NAME, int(places[number]))
            answer = int(vote(x, plan.selection_samples, generator).argmax())
            votes = int(vote(x, plan.samples, generator)[answer])
            yield number, {"answer": answer, "votes": votes, "seconds": time.monotonic() - began}
            bar.advance(1)


@torch.no_grad()
def _votes(
    network: nn.Module,
    sigma: float,
    classes: int,
    batch_size: int,
    x: Tensor,
    count: int,
    generator: torch.Generator,
) -> Tensor:
    """How many of `count` noisy copies of `x` (1 x C x H x W) the network gives each class, int64
    of shape K. Copies without an answer vote for none."""
    votes = torch.zeros(classes + 1, dtype=torch.int64, device=x.device)  # the first: no answer
    with single_threaded_between_passes(network):
        for start in range(0, count, DRAWN):
            shape = min(DRAWN, count - start), *x.shape[1:]
            noise = torch.randn(shape, generator=generator, dtype=x.dtype, device=x.device)
            for part in torch.split(x + sigma * noise, batch_size):
                answers = predicted(network(part)) - NO_ANSWER
                votes.scatter_add_(0, answers, torch.ones_like(answers))
    return votes[1:]
