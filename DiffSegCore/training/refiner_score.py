"""How much better a refiner makes its priors, on numbered patches of validation cases."""
from __future__ import annotations

from typing import NamedTuple

import torch
from lightning.fabric import Fabric
from torch import Tensor

from ..decision import decided
from .refiner_loss import with_background
from .refiner_patches import RefinerBatches
from .refining_network import RefiningNetwork, believed, chosen, laid_out

STEPS, SAMPLES = 2, 4  # of the chain: as few as tell what inference with more will do
CHOICE = (1, 2, 4)  # of steps, among which validation cases choose


class Bettered(NamedTuple):
    """Mean over labels of their Dice in all patches together: of the priors' likeliest labels, and of those that refined chances promise most of."""

    before: float
    after: float


@torch.no_grad()
def bettered(network: RefiningNetwork, watched: RefinerBatches, count: int, batch: int, fabric: Fabric, steps: int = STEPS) -> Bettered:
    """On patches 0 .. count - 1, the mean of a few samples of the exact kernel, or the control's one look."""
    network.eval()
    sums = 0.
    for first in range(0, count, batch):
        given = fabric.to_device(watched.batch(first, min(batch, count - first)))
        image = laid_out(given.image)
        features, logits = network.segmented(image, bool(given.own.any()))
        prior = believed(given.prior if logits is None else chosen(given, network.chances(logits)), given.known)
        with fabric.autocast():
            after = network.refined(image, prior, given.seeds.tolist(), steps=steps, samples=SAMPLES, features=features)
        labels = with_background(prior).argmax(1), torch.stack([decided(each).argmax(0) for each in with_background(after.float())])
        sums = sums + torch.stack([_counts(each, given.truth, given.known) for each in labels])
    network.train()
    return Bettered(*(_dice(each) for each in sums))


def best_steps(network: RefiningNetwork, watched: RefinerBatches, count: int, batch: int, fabric: Fabric) -> tuple[int, Bettered]:
    """The number of steps of CHOICE that betters the watched patches most, the fewest of equals, and by how much; a control takes one."""
    choice = [steps for steps in CHOICE if steps <= network.chain.last] if network.diffusion else [1]
    found = {steps: bettered(network, watched, count, batch, fabric, steps) for steps in choice}
    best = max(choice, key=lambda steps: found[steps].after)
    return best, found[best]


def _counts(found: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """found (B, *spatial), labels -> (3, labels): voxels found and true, found, true; of labels that are known, background left out."""
    truth = with_background(truth)
    picked = torch.nn.functional.one_hot(found, truth.shape[1]).movedim(-1, 1).to(truth)
    drawn = known.expand(-1, truth.shape[1]).reshape(*truth.shape[:2], *[1] * (truth.ndim - 2))
    parts = (picked * truth, picked, truth)
    return torch.stack([(each * drawn).transpose(0, 1).flatten(1).sum(1)[1:] for each in parts]).cpu().double()


def _dice(counts: Tensor) -> float:
    both, found, true = counts
    return float((2 * both / (found + true).clamp(min=1))[true > 0].mean())
