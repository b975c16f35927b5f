"""A click model as it is trained: the refiner of one object, told of prompts, and now and then prompted again where it was wrong."""
from __future__ import annotations

from typing import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..diffusion import VoxelFields, levels
from ..diffusion.mask import MaskDiffusion
from ..networks import Context, Refiner
from .click_naming import Naming
from .click_patches import ClickBatch, Situations
from .refiner_loss import belief, refining_loss, scores
from .refining_network import RefiningNetwork, laid_out

NAMING = 1.  # weight of naming the crop's structures
NEAR = 1.  # weight of the entropy near the prompts, where something should happen
ROUND = 2  # from which of a situation's random streams on its next prompts are drawn


class ClickNetwork(RefiningNetwork):
    """forward(batch) -> loss: that of a refiner (METHODS B2), the entropy near prompts, and what naming costs. One evaluation with gradients, at most
    six without. naming: learns along."""

    def __init__(self, network: Refiner, chain: MaskDiffusion, *, diffusion: bool = True, naming: Naming | None = None) -> None:
        super().__init__(network, chain, diffusion=diffusion)
        self.naming = naming

    def forward(self, batch: ClickBatch) -> Tensor:
        batch = self._prompted_again(batch)
        pyramid = self.refiner.pyramid(laid_out(batch.image), batch.prior, (), batch.prompts)
        loss = self._answering(batch, self.refiner.read(pyramid, batch.prior))
        if self.naming is None:
            return loss
        return loss + NAMING * self.naming(pyramid, [each.named for each in batch.situations.each])

    def _answering(self, batch: ClickBatch, context: Context) -> Tensor:
        if not self.diffusion:
            logits = self._asked(context, None, batch.times).float()
            return scores(logits, batch.truth, batch.known).mean() + NEAR * near_entropy(logits, batch)
        seen = self._noised(batch, batch.prior, context)
        logits = self._asked(context, seen.mask, seen.t)
        with torch.autocast(logits.device.type, enabled=False):
            loss = refining_loss(self.chain, seen, logits, batch.truth, batch.known)
            return loss + NEAR * near_entropy(belief(self.chain, seen, logits.float()), batch)

    def context(self, image: Tensor, prior: Tensor, prompts: Tensor) -> Context:
        return self.refiner.context(laid_out(image), prior, (), prompts)

    @torch.no_grad()
    def answers(self, image: Tensor, prior: Tensor, prompts: Tensor, seeds: Sequence[int], *, steps: int = 1) -> Tensor:
        """Chances (B, 1, *spatial) of so many steps of the chain, or of the control's one look; prompted voxels as they were told."""
        context = self.context(image, prior, prompts)
        if not self.diffusion:
            return self.chain.chances(self.chain.hold(self._asked(context, None, torch.zeros(len(image), dtype=torch.long)).float(), prior))
        field = VoxelFields.of(prior.shape[2:], seeds=seeds, device=prior.device).uniform
        return self.chain.sample(lambda noisy, t: self._asked(context, noisy, t), prior, levels(self.chain.last, steps), field)

    @torch.no_grad()
    def _prompted_again(self, batch: ClickBatch) -> ClickBatch:
        """The batch as it is when every situation's rounds of an answer and one prompt more are over."""
        for done in range(int(batch.rounds.max())):
            batch = self._one_round(batch, (batch.rounds > done).nonzero()[:, 0].tolist(), done)
        return batch

    def _one_round(self, batch: ClickBatch, chosen: list[int], done: int) -> ClickBatch:
        """The batch in which the chosen have got an answer and one prompt more."""
        seeds, situations = batch.seeds[chosen].tolist(), list(batch.situations.each)
        found = self.answers(batch.image[chosen], batch.prior[chosen], batch.prompts[chosen], seeds)[:, 0].cpu().numpy()
        for n, chances, seed in zip(chosen, found, seeds):
            situations[n] = situations[n].answered(chances).prompted(np.random.default_rng((seed, ROUND + done)))
        later = [situations[n].rendered() for n in chosen]
        changed = {}
        for name, parts in zip(later[0]._fields, zip(*later)):
            changed[name] = getattr(batch, name).clone()
            changed[name][chosen] = torch.stack(parts).to(changed[name])
        return batch._replace(situations=Situations(situations), **changed)


def near_entropy(logits: Tensor, batch: ClickBatch) -> Tensor:
    """Cross-entropy, weighted by how near the prompts are; 0 where there is none."""
    wrong = F.binary_cross_entropy_with_logits(logits, batch.truth, reduction="none")
    return (wrong * batch.near).sum() / batch.near.sum().clamp(min=1)
