"""The Bernoulli refiner (HiDiff; METHODS B2): what a voxel's true label is, from image, prior and the noisy mask around it."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import MutualAttention, place_code
from .binary import binarise
from .blindspot import Neighbours, apart, together
from .denoiser import Guide
from .encoder import GROUP, DiffusionEncoder, NoiseLevel, convolution, modulated
from .heads import PointwiseLinear, nothing

FLOOR = .02  # a prior is never believed more than this nearly, unless said otherwise: its logit stays within +-3.9, easily corrected
LEAST_KEEP = 4.5e-5  # logSNR stays within +-10
LEVEL_WIDTH = 32
LEAST_PRIOR = 1e-4  # of a value that is seen: evidence stays finite
OCTAVES = 4  # of body coordinates


@dataclass(frozen=True, eq=False)
class Context:
    """What a refinement needs of image, prior and prompts, for every step and sample. P = 8 lattices of voxels in 3D, 4 in 2D."""

    prior: Tensor  # (B, C, *spatial)
    logits: Tensor  # (B, C, *spatial), what the answer would be if no noisy mask added to it
    fine: Tensor  # (B, P, step_widths[0], *spatial / 2)
    coarse: tuple[Tensor, ...]  # (B, 1, step_widths[n], *spatial / 2**(n + 1)) for n = 1, 2, ...
    tokens: Tensor  # (B, 1, *grid, step_widths[-1]), of the image's coarsest level

    def repeated(self, samples: int) -> Context:
        """For `samples` masks of every element of the batch, (B * samples): those of one element follow each other. Copies nothing if B = 1."""
        def again(x: Tensor) -> Tensor:
            return x[:, None].expand(-1, samples, *x.shape[1:]).flatten(0, 1)

        return Context(again(self.prior), again(self.logits), again(self.fine), tuple(map(again, self.coarse)), again(self.tokens))

    def singly(self) -> list[Context]:
        """Every element of the batch as a batch of one, in the same memory."""
        def one(x: Tensor, n: int) -> Tensor:
            return x[n:n + 1]

        return [Context(one(self.prior, n), one(self.logits, n), one(self.fine, n), tuple(one(x, n) for x in self.coarse), one(self.tokens, n))
                for n in range(len(self.prior))]


class Refiner(nn.Module):
    """Leave-one-out logits l of the true mask: the voxel's own y_t never enters, so that l + Lambda(y_t) = logit pi is exact.

    `context` is heavy and knows neither noisy mask nor level; `step` is light and comes once for each step and sample. That l
    does not depend on the voxel's own y_t is true by construction, not by training: see blindspot.py. Of the other y_t a voxel
    sees all but those of its own lattice.

    One object: classes = 1, l is the logit of a Bernoulli. Exclusive labels: classes = K >= 2, background first; l are the
    logits of a softmax. An untrained refiner gives the prior back, held off 0 and 1 by `floor`: the output is a residual.
    Gradients reach the prior through its logits and the inputs; detach it where it shall not learn.

    spatial_dims 2 or 3; image_channels, prompt_channels: of the tensors; widths: of the context's levels, strides 1, 2, 4, ...;
    step_widths: of the step's, strides 2, 4, ...; feature_widths: of a segmentor's pyramid, fine to coarse, strides 1, 2, 4, ..., 0 for
    a level that isn't read; body: reads body coordinates (3D); binary: sign weights and activations (see binary.py); steady: as of the encoder;
    floor: the smaller, the surer a segmentor is believed: small for chances that mean what they say.
    All widths are multiples of 8.
    """

    def __init__(self, *, spatial_dims: int = 3, image_channels: int = 1, classes: int = 1, widths: Sequence[int] = (16, 32, 64, 96),
                 step_widths: Sequence[int] = (16, 24), feature_widths: Sequence[int] = (), prompt_channels: int = 0,
                 body: bool = False, binary: bool = False, steady: bool = False, floor: float = FLOOR) -> None:
        super().__init__()
        _check(spatial_dims, classes, widths, step_widths, feature_widths, body)
        self.floor, self.classes, self.prompt_channels, self.feature_widths = floor, classes, prompt_channels, tuple(feature_widths)
        self.encoder = DiffusionEncoder(in_channels=image_channels + classes + prompt_channels, widths=widths, spatial_dims=spatial_dims,
                                        level_width=LEVEL_WIDTH if body else 0, denoises=False, steady=steady)
        self.inject = nn.ModuleDict({str(n): nn.Sequential(nn.GroupNorm(width // GROUP, width), PointwiseLinear(width, widths[n]))
                                     for n, width in enumerate(feature_widths) if width})
        self.guide = Guide(self.encoder, OCTAVES) if body else None
        taken = [widths[0], *widths[2:len(step_widths) + 1], widths[-1]]  # the levels at the step's strides, and the coarsest for tokens
        self.hand_over = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(width // GROUP, width), nn.SiLU(), PointwiseLinear(width, given))
            for width, given in zip(taken, [*step_widths, step_widths[-1]]))
        self.opinion = nn.Sequential(nn.GroupNorm(widths[0] // GROUP, widths[0]), nn.SiLU(), nothing(PointwiseLinear(widths[0], classes)))
        self.walk = Step(classes, step_widths, spatial_dims)
        if binary:
            binarise(self)

    @property
    def stride(self) -> int:
        """Window sizes must be multiples of this."""
        return self.encoder.stride

    def context(self, image: Tensor, prior: Tensor, features: Sequence[Tensor | None] = (), prompts: Tensor | None = None,
                body: Tensor | None = None) -> Context:
        """image (B, image_channels, *spatial) in model values; prior (B, classes, *spatial), chances; features: the segmentor's pyramid,
        fine to coarse, or nothing; prompts (B, prompt_channels, *spatial), None for zeros; body (B, 3, k/4, j/4, i/4), or finer,
        coordinates in 0..1, NaN or None where unknown. ValueError where sizes aren't multiples of `stride`.
        """
        return self.read(self.pyramid(image, prior, features, prompts, body), prior)

    def pyramid(self, image: Tensor, prior: Tensor, features: Sequence[Tensor | None] = (), prompts: Tensor | None = None,
                body: Tensor | None = None) -> list[Tensor]:
        """What `context` reads: (B, widths[n], *spatial / 2**n), fine to coarse. Of the same arguments."""
        if any(size % self.stride for size in image.shape[2:]):
            raise ValueError(f"the refiner reads windows with sides that are multiples of {self.stride}, not {tuple(image.shape[2:])}")
        if prompts is None:
            prompts = image.new_zeros(len(image), self.prompt_channels, *image.shape[2:])
        return self._pyramid(torch.cat([image, prior_logits(prior, self.floor), prompts], dim=1), features, body)

    def read(self, pyramid: Sequence[Tensor], prior: Tensor) -> Context:
        """The context that a `pyramid` of this prior holds."""
        logits = prior_logits(prior, self.floor)
        fine, *coarse, tokens = (give(level) for give, level in zip(self.hand_over, [pyramid[0], *pyramid[2:len(self.hand_over)], pyramid[-1]]))
        return Context(prior, logits + self.opinion(pyramid[0]), apart(fine), tuple(level[:, None] for level in coarse), tokens[:, None].movedim(2, -1))

    def step(self, context: Context, noisy: Tensor, keep: Tensor) -> Tensor:
        """noisy (B, classes, *spatial), zeros and ones; keep (B,), the chance that a voxel still shows its clean value -> l, of the same
        shape. The context's batch is B, or 1 for B samples of one image.
        """
        return context.logits + self.walk(context, noisy, keep)

    def forward(self, image: Tensor, prior: Tensor, noisy: Tensor, keep: Tensor, features: Sequence[Tensor | None] = (),
                prompts: Tensor | None = None, body: Tensor | None = None) -> Tensor:
        """Context and step in one: l (B, classes, *spatial)."""
        return self.step(self.context(image, prior, features, prompts, body), noisy, keep)

    def _pyramid(self, given: Tensor, features: Sequence[Tensor | None], body: Tensor | None) -> list[Tensor]:
        guided = self.guide(body, given.shape[2:]) if self.guide is not None and body is not None else {}
        hints = [None] * len(self.encoder.widths)
        for n, level in enumerate(features):
            if str(n) in self.inject and level is not None:
                hints[n] = self.inject[str(n)](level)
        for hint in guided.get("hints", ()):
            hints[0] = hint if hints[0] is None else hints[0] + hint
        return self.encoder.features(given, hints=hints, context=guided.get("context"))


class Step(nn.Module):
    """The path that the noisy mask takes, lattice by lattice: what it adds to the context's logits.

    At full size it looks at the neighbours and mixes channels voxel by voxel; convolutions run at stride 4 and beyond. A 3x3x3 one at
    full size took a third of a step's time.
    """

    def __init__(self, classes: int, widths: Sequence[int], spatial_dims: int) -> None:
        super().__init__()
        steps, conv = list(zip(widths[:-1], widths[1:])), convolution(spatial_dims)
        self.level = NoiseLevel(LEVEL_WIDTH)
        self.look = Neighbours(classes, widths[0], spatial_dims, side=5 if classes == 1 else 3)  # of 8 classes, 5 took three times as long as all else
        self.down = nn.ModuleList(conv(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.attention = MutualAttention(widths[-1])
        self.decode = nn.ModuleList(SingleBlock(width, LEVEL_WIDTH, spatial_dims) for width in widths[1:])
        self.up = nn.ModuleList(PointwiseLinear(coarse, fine) for fine, coarse in steps)
        self.read = nn.Sequential(PointwiseLinear(widths[0], widths[0]), nn.SiLU(), nothing(PointwiseLinear(widths[0], classes)))

    def forward(self, context: Context, noisy: Tensor, keep: Tensor) -> Tensor:
        """noisy (B, classes, *spatial), keep (B,) -> (B, classes, *spatial)."""
        lattices = context.fine.shape[1]
        level = self.level(torch.logit(keep.float(), eps=LEAST_KEEP)).repeat_interleave(lattices, 0)
        levels = [F.silu(context.fine + self.look(evidence(noisy, context.prior, keep))).flatten(0, 1)]
        for down, told in zip(self.down, context.coarse):
            levels.append(F.silu(down(levels[-1]).unflatten(0, (-1, lattices)) + told).flatten(0, 1))
        x = self._asked(levels.pop(), context.tokens)
        for up, block, skip in zip(reversed(self.up), reversed(self.decode), reversed(levels)):
            x = spread_over(skip, up(block(x, level)))
        return together(self.read(x).unflatten(0, (-1, lattices)))

    def _asked(self, x: Tensor, image: Tensor) -> Tensor:
        """x (B * P, width, *coarsest level) plus what its tokens and the image's (B or 1, 1, *grid, width) learn from each other."""
        grid = image.shape[2:-1]
        pool = F.adaptive_avg_pool3d if len(grid) == 3 else F.adaptive_avg_pool2d
        code = place_code(grid, x.shape[1], x.device)
        own = pool(x, grid).flatten(2).transpose(1, 2) + code
        image = (image.flatten(2, -2) + code).expand(-1, 2 ** len(grid), -1, -1)
        image = image.expand(len(own) // image.shape[1], -1, -1, -1).flatten(0, 1)
        found = self.attention(own, image).transpose(1, 2).unflatten(2, grid)
        return x + F.interpolate(found, size=x.shape[2:], mode="nearest")


class SingleBlock(nn.Module):
    """One pre-activated 3x3x3 convolution, FiLM by the noise level before it; starts as the identity."""

    convolutions = 1

    def __init__(self, width: int, level_width: int, spatial_dims: int) -> None:
        super().__init__()
        self.width, self.level_width, self.spatial_dims = width, level_width, spatial_dims
        self.norm, self.film = nn.GroupNorm(width // GROUP, width), nn.Linear(level_width, 2 * width)
        self.conv = convolution(spatial_dims)(width, width, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        return x + self.conv(F.silu(modulated(self.norm(x), self.film(level))))


def prior_logits(prior: Tensor, floor: float = FLOOR) -> Tensor:
    """Where an untrained refiner's answer lies: the prior (B, 1 or K, *spatial) held off 0 and 1, as logits of a sigmoid or softmax."""
    if prior.shape[1] == 1:
        return torch.logit(prior.float(), eps=floor)
    return prior.float().clamp(floor / (prior.shape[1] - 1), 1 - floor).log()


def evidence(noisy: Tensor, prior: Tensor, keep: Tensor) -> Tensor:
    """What every y_t says of its own voxel, as the neighbours' path reads it: the likelihood ratio Lambda of METHODS B1, (B, C, *spatial).

    All that y_t knows of the truth is in it, the level included. It is 0 where nothing was kept, so there l cannot depend on the
    noise, and the feed-forward control, which sees zeros at keep = 0, has the same network without this path. No gradient to the prior.
    """
    prior, keep = prior.detach().float(), keep.float().clamp(max=1 - LEAST_KEEP).reshape(-1, *[1] * (noisy.ndim - 1))
    noisy = noisy.to(prior.dtype)
    if noisy.shape[1] == 1:
        return (2 * noisy - 1) * torch.log1p(keep / (1 - keep) / (noisy * prior + (1 - noisy) * (1 - prior)).clamp(min=LEAST_PRIOR))
    return noisy * torch.log1p(keep / (1 - keep) / (noisy * prior).sum(1, keepdim=True).clamp(min=LEAST_PRIOR))


def spread_over(fine: Tensor, coarse: Tensor) -> Tensor:
    """fine (B, C, *2 n) + coarse (B, C, *n), each of whose voxels covers 2 along every axis; in one pass over whole rows, several times as fast as two."""
    batch, channels, *sizes = coarse.shape
    rows = coarse.movedim(1, -1).unsqueeze(-2).expand(batch, *sizes, 2, channels).reshape(batch, *sizes[:-1], -1)
    fine = fine.movedim(1, -1).reshape(batch, *(part for size in sizes[:-1] for part in (size, 2)), rows.shape[-1])
    rows = rows[(slice(None), *(slice(None), None) * (len(sizes) - 1))]
    return (fine + rows).reshape(batch, *(2 * size for size in sizes), channels).movedim(-1, 1)


def _check(spatial_dims: int, classes: int, widths: Sequence[int], step_widths: Sequence[int], feature_widths: Sequence[int], body: bool) -> None:
    if len(widths) <= len(step_widths) or not step_widths:
        raise ValueError(f"a refiner of {len(step_widths)} step levels needs more levels of context than {len(widths)}, and 1 step level or more")
    if odd := [width for width in (*widths, *step_widths, *feature_widths) if width % GROUP]:
        raise ValueError(f"widths are multiples of {GROUP}, not {odd}")
    if deep := [n for n, width in enumerate(feature_widths) if width and n >= len(widths)]:
        raise ValueError(f"features of level {deep[0]} have no level of the refiner at their stride: give 0 there, or more than {len(widths)} widths")
    if classes < 1 or body and spatial_dims != 3:
        raise ValueError(f"a refiner has 1 class or more, and body coordinates only in 3D; got {classes} classes, {spatial_dims}D")
