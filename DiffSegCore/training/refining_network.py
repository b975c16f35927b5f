"""A refiner as it is trained: alone, or beside the organ network whose features it reads and that may learn with it."""
from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor, nn

from ..diffusion import REDRAW, VoxelFields, levels
from ..diffusion.mask import MaskDiffusion
from ..networks import Context, OrganNetwork, Refiner
from ..refining import believable
from ..regions import doubtful
from .refiner_loss import Noised, refining_loss, scores, without_unknown
from .refiner_patches import RefinerBatch


class RefiningNetwork(nn.Module):
    """network: a Refiner, or an OrganNetwork that carries one; chain: Bernoulli for one class, categorical for more.

    diffusion False: the feed-forward control, the same network asked once with an empty mask at keep = 0, learning by the same
    scores. forward(batch) -> loss, in which the segmentor is a given: neither p nor features pass a gradient on.
    spacing_mm: of the patches; with it the loss is a mean over the voxels that inference refines, where the prior is doubtful: in a
    mean over all, the plain background outweighs the outlines, and overlap, which rewards answers that are too sure, outweighs both.
    """

    irregular = True  # how often the layers are read differs from batch to batch: recycled masks, priors of its own

    def __init__(self, network: Refiner | OrganNetwork, chain: MaskDiffusion, *, diffusion: bool = True,
                 spacing_mm: Sequence[float] | None = None) -> None:
        super().__init__()
        self.network, self.chain, self.diffusion, self.spacing_mm = network, chain, diffusion, spacing_mm

    @property
    def refiner(self) -> Refiner:
        return self.network.refiner if isinstance(self.network, OrganNetwork) else self.network

    @property
    def segmentor(self) -> OrganNetwork | None:
        return self.network if isinstance(self.network, OrganNetwork) else None

    def forward(self, batch: RefinerBatch) -> Tensor:
        batch = batch._replace(image=laid_out(batch.image))
        with torch.no_grad():
            features, logits = self.segmented(batch.image, bool(batch.own.any()))
            prior = believed(batch.prior if logits is None else chosen(batch, self.chances(logits)), batch.known)
        return self.refining(batch, prior, features)

    def segmented(self, image: Tensor, asked: bool) -> tuple[list[Tensor | None], Tensor | None]:
        """The segmentor's features that the refiner reads, fine to coarse, and, if asked, its logits (B, labels, *spatial)."""
        wanted = self.refiner.feature_widths
        if self.segmentor is None or not (asked or any(wanted)):
            return [], None
        pyramid = self.segmentor.encoder.features(image)
        features = [level if width else None for level, width in zip(pyramid, wanted)]
        return features, self.segmentor.head(pyramid).float() if asked else None

    def chances(self, logits: Tensor) -> Tensor:
        """The prior that a segmentor's logits make, (B, classes, *spatial): one object's is the chance of label 1."""
        chances = logits.softmax(1)
        return chances[:, 1:2] if self.refiner.classes == 1 else chances

    def refining(self, batch: RefinerBatch, prior: Tensor, features: Sequence[Tensor | None]) -> Tensor:
        """The loss with this prior (B, classes, *spatial). One evaluation with gradients; a recycled mask costs one light step more."""
        # torch 2.13's group_norm crashes going back where its input in channels_last wants no gradient
        features = [level if level is None or level.requires_grad else level.requires_grad_(torch.is_grad_enabled()) for level in features]
        context, where = self.refiner.context(batch.image, prior, features), self.refinable(prior.detach())
        if not self.diffusion:
            return scores(self._asked(context, None, batch.times).float(), batch.truth, batch.known, where).mean()
        seen = self._noised(batch, prior.detach(), context)
        logits = self._asked(context, seen.mask, seen.t)
        with torch.autocast(logits.device.type, enabled=False):
            return refining_loss(self.chain, seen, logits, batch.truth, batch.known, where)

    @torch.no_grad()
    def refined(self, image: Tensor, prior: Tensor, seeds: Sequence[int], *, steps: int = 2, samples: int = 1,
                features: Sequence[Tensor | None] = ()) -> Tensor:
        """pi (B, classes, *spatial), the mean of samples of the chain by the exact kernel, or the control's answer. seeds: one an element."""
        context = self.refiner.context(laid_out(image), prior, features)
        if not self.diffusion:
            return self.chain.chances(self._asked(context, None, torch.zeros(len(image), dtype=torch.long)).float())
        fields = VoxelFields.of(prior.shape[2:], seeds=seeds, device=prior.device)
        drawn = (self.chain.sample(lambda noisy, t: self._asked(context, noisy, t), prior, levels(self.chain.last, steps),
                                   lambda level, stream, n=n: fields.uniform(level, stream + 2 * n), kernel=self.chain.exactly) for n in range(samples))
        return sum(drawn) / samples

    def refinable(self, prior: Tensor) -> Tensor | None:
        """bool (B, *spatial): what inference would refine of patches with this prior; None for all of it."""
        if self.spacing_mm is None:
            return None
        volumes = prior if prior.ndim == 5 else prior[:, :, None]  # a picture is a volume of one plane
        return torch.stack([doubtful(each, self.spacing_mm) for each in volumes]).reshape(len(prior), *prior.shape[2:])

    def _asked(self, context: Context, mask: Tensor | None, t: Tensor) -> Tensor:
        """Leave-one-out logits at levels t (B,); None is the control's empty mask."""
        if mask is None:
            return self.refiner.step(context, torch.zeros_like(context.prior), context.prior.new_zeros(len(context.prior)))
        return self.refiner.step(context, mask, self.chain.keep[t.cpu()].to(mask.device, torch.float32))

    @torch.no_grad()
    def _noised(self, batch: RefinerBatch, prior: Tensor, context: Context) -> Noised:
        """y_t of the truth, or of what the model believes after a first look at y_T: the state a chain of two steps would be in."""
        field = VoxelFields.of(prior.shape[2:], seeds=batch.seeds.tolist(), device=prior.device)
        clean, last = batch.truth.float(), self.chain.last
        if bool(batch.recycled.any()):
            start = self.chain.draw(prior, field.uniform(last, REDRAW))
            found = self._asked(context, start, torch.full_like(batch.times, last)).float()
            belief = self.chain.chances(self.chain.hold(found, prior))  # what prompts fix stays as it is in every mask
            clean = torch.where(batch.recycled.reshape(-1, *[1] * (clean.ndim - 1)), without_unknown(belief, batch.known), clean)
        mask = self.chain.noisy(clean, prior, batch.times, field.uniform(0, REDRAW))
        return Noised(mask, prior, batch.times, batch.recycled)


def chosen(batch: RefinerBatch, chances: Tensor) -> Tensor:
    """The segmentor's chances where the batch says so, else the batch's prior."""
    return torch.where(batch.own.reshape(-1, *[1] * (chances.ndim - 1)), chances, batch.prior)


def believed(prior: Tensor, known: Tensor) -> Tensor:
    """As inference holds priors off 0 and 1; undrawn labels are background."""
    return without_unknown(torch.stack([believable(each) for each in prior]), known)


def laid_out(image: Tensor) -> Tensor:
    """In the memory layout that convolutions are fastest in."""
    return image.contiguous(memory_format=torch.channels_last_3d if image.ndim == 5 else torch.channels_last)
