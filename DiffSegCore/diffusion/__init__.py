"""The three diffusions, as mathematics on tensors (B, C, *spatial); two or three spatial axes, (J, I) or (K, J, I).

Time t runs 0..T; `keep[t]` is the chance that a voxel still shows its clean value; a step goes from t to any s < t and
`hop = keep[t] / keep[s]`. Nothing here owns a random number or a network: fields and models are handed in.
"""

from __future__ import annotations

from .bernoulli import BernoulliDiffusion
from .categorical import CategoricalDiffusion
from .fields import KEEP, REDRAW, Field, VoxelFields, voxel_index
from .gaussian import GaussianDiffusion
from .schedules import cosine_squared, level_at, levels, linear_logsnr, logsnr, shifted
from .times import draw_times, pretraining_weights, refining_weights

__all__ = [
    "KEEP",
    "REDRAW",
    "BernoulliDiffusion",
    "CategoricalDiffusion",
    "Field",
    "GaussianDiffusion",
    "VoxelFields",
    "cosine_squared",
    "draw_times",
    "level_at",
    "levels",
    "linear_logsnr",
    "logsnr",
    "pretraining_weights",
    "refining_weights",
    "shifted",
    "voxel_index",
]
