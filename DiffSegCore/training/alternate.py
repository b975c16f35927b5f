"""Alternate and collaborate (METHODS B2): the refiner learns from its segmentor, then the segmentor learns what helps its refiner."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator

from torch import Tensor, nn

from ..diffusion.mask import MaskDiffusion
from ..networks import OrganNetwork
from .losses import organ_loss
from .refiner_patches import NUMBER_BITS, RefinerBatch
from .refining_network import RefiningNetwork, believed, laid_out


class AlternatingNetwork(RefiningNetwork):
    """A segmentor that carries a refiner. Even steps train the refiner, with p and features as givens; odd steps the segmentor, by
    L_seg + mu L_refiner with the refiner frozen, mu rising to `mu` over the first `ramp` steps.

    batch: patches of a step in all processes, by which a batch knows its step; how: as of RefiningNetwork. In the segmentor's steps gradients reach p and the
    features through the refiner's inputs alone: theta, Lambda and sampling take p as a given.
    """

    def __init__(self, network: OrganNetwork, chain: MaskDiffusion, *, batch: int, mu: float, ramp: float, **how: Any) -> None:
        super().__init__(network, chain, **how)
        self.batch, self.mu, self.ramp = batch, mu, max(ramp, 1.)

    def forward(self, batch: RefinerBatch) -> Tensor:
        step = (int(batch.seeds[0]) & (1 << NUMBER_BITS) - 1) // self.batch
        return self.teaching(batch, step) if step % 2 else super().forward(batch)

    def teaching(self, batch: RefinerBatch, step: int) -> Tensor:
        """The segmentor's loss at this step of the training."""
        batch = batch._replace(image=laid_out(batch.image))
        features, logits = self.segmented(batch.image, True)
        prior = believed(self.chances(logits), batch.known)
        with frozen(self.refiner):
            helped = self.refining(batch, prior, features)
        return self.own_loss(logits, batch) + self.mu * min(1., step / self.ramp) * helped

    def own_loss(self, logits: Tensor, batch: RefinerBatch) -> Tensor:
        """What trains a segmentor alone; one object is a choice between it and background."""
        if batch.truth.shape[1] == 1:
            return organ_loss(logits, batch.truth[:, 0].long(), batch.known.expand(-1, 2))
        return organ_loss(logits, batch.truth.argmax(1), batch.known)


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Within, gradients pass through the network without reaching its weights."""
    learning = [each for each in network.parameters() if each.requires_grad]
    for each in learning:
        each.requires_grad_(False)
    try:
        yield
    finally:
        for each in learning:
            each.requires_grad_(True)
