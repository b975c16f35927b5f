"""The denoiser that pretraining teaches, and what it is told, or asked, about where in the body a patch lies (METHODS A2)."""
from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import GROUP, DiffusionEncoder
from .heads import PointwiseLinear

GUIDANCE = ("none", "input", "auxiliary", "both")
BODY_LEVEL = 2  # of the pyramid: body coordinates have stride 4
CLEAN = 10.  # the logSNR that a clean image is said to have: the clearest that was trained, its noise .007 of the range


class CoordinateCode(nn.Module):
    """Body coordinates (B, 3, k, j, i), NaN where unknown -> (B, width, k, j, i): a bit "known", then sines and cosines; all 0 where unknown.

    One unit of a coordinate is half a turn of the lowest octave, so that the two ends of the body differ.
    """

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.width = 1 + 6 * octaves
        self.register_buffer("rates", math.pi * 2. ** torch.arange(octaves), persistent=False)

    def forward(self, body: Tensor) -> Tensor:
        known = body.isfinite().all(1, keepdim=True)
        phase = torch.where(known, body, 0.)[:, :, None] * self.rates[:, None, None, None]
        return torch.cat([torch.ones_like(body[:, :1]), phase.sin().flatten(1, 2), phase.cos().flatten(1, 2)], 1) * known


class Guide(nn.Module):
    """What the coordinates say to an encoder: a hint for every voxel and a context for the patch. Both begin at zero."""

    def __init__(self, encoder: DiffusionEncoder, octaves: int) -> None:
        super().__init__()
        self.code = CoordinateCode(octaves)
        self.hint = nn.Conv3d(self.code.width, encoder.widths[0], 1, bias=False)
        self.context = nn.Sequential(nn.Linear(self.code.width, encoder.level_width), nn.SiLU(),
                                     nn.Linear(encoder.level_width, encoder.level_width, bias=False))
        for layer in (self.hint, self.context[2]):
            nn.init.zeros_(layer.weight)

    def forward(self, body: Tensor, size: torch.Size) -> dict[str, Any]:
        """body (B, 3, k/4, j/4, i/4), or finer, and the image's size (k, j, i) -> `hints` and `context` of DiffusionEncoder.features."""
        hint = F.interpolate(self.hint(self.code(body)), size=size, mode="trilinear", align_corners=False)
        mean = self.code(body.nanmean((2, 3, 4), keepdim=True)).flatten(1)  # NaN, so nothing, where no voxel is known
        return {"hints": (hint,), "context": self.context(mean) * mean[:, :1]}


class GuidedDenoiser(nn.Module):
    """A diffusion encoder that may be told body coordinates ("input"), asked for them ("auxiliary"), "both" or "none".

    To concatenate a code to the input of a convolution, or to add a second convolution's view of the code to its output, is
    the same linear map. Apart, `encoder` stays a plain one-channel encoder, whole without any coordinates: where they
    are dropped the hint is exactly zero, and heads can take the encoder over as it is.
    """

    def __init__(self, encoder: DiffusionEncoder, guidance: str = "both", octaves: int = 4) -> None:
        super().__init__()
        if guidance not in GUIDANCE or len(encoder.widths) <= BODY_LEVEL:
            raise ValueError(f"guidance is one of {', '.join(GUIDANCE)}, not {guidance!r}, and takes {BODY_LEVEL + 1} levels or more, "
                             f"not {len(encoder.widths)}")
        self.encoder, self.guidance = encoder, guidance
        width = encoder.widths[BODY_LEVEL]
        self.guide = Guide(encoder, octaves) if guidance in ("input", "both") else None
        self.asked = nn.Sequential(nn.GroupNorm(width // GROUP, width), nn.SiLU(), PointwiseLinear(width, 3)) \
            if guidance in ("auxiliary", "both") else None

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the pyramid, fine to coarse."""
        return self.encoder.widths

    @property
    def stride(self) -> int:
        """Window sizes must be multiples of this."""
        return self.encoder.stride

    def features(self, image: Tensor, log_snr: Tensor | None = None, body: Tensor | None = None) -> list[Tensor]:
        """The pyramid, fine to coarse, (B, widths[n], k/2**n, ...).

        image (B, 1, k, j, i), noisy to `log_snr` (B,) or clean (None); body (B, 3, k/4, j/4, i/4), or finer, coordinates in 0..1,
        NaN where unknown, None where all are. Networks without "input" guidance leave `body` unread.
        """
        log_snr = image.new_full((len(image),), CLEAN) if log_snr is None else log_snr
        said = self.guide(body, image.shape[2:]) if self.guide is not None and body is not None else {}
        return self.encoder.features(image, log_snr, **said)

    def denoise(self, noisy: Tensor, log_snr: Tensor, body: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """v-prediction (B, 1, k, j, i), and the coordinates (B, 3, k/4, j/4, i/4) as the decoder sees them, None where it isn't asked."""
        pyramid = self.features(noisy, log_snr, body)
        return self.encoder.velocity(pyramid[0]), self.asked(pyramid[BODY_LEVEL]) if self.asked is not None else None

    forward = denoise
