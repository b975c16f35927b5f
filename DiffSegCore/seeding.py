"""What prompts alone make likely: the prior where nothing is drawn yet, and where a click says that something is missing.

Logistic models of how far a voxel is along paths that avoid edges, fitted to crops of training cases (Testing/benchmarks/seeded_prior.py
scores them beside a fresh fit). A refiner can only refine: with these priors it has something to refine from the first click on.
"""
from __future__ import annotations

from typing import Sequence

import torch
from scipy import ndimage
from torch import Tensor

from .geodesic import Paths, paths
from .marks import Mark

BEGUN = (4.203, -.496, -.481, -7.366)  # of 1, x, x^2, y; x = log(1 + voxels to a positive prompt), y = nearness to a negative one
MISSING = (-2.284, -1.294, 2.262, 1.009, -2.131, 1.430)  # of 1, x, z, n, e, likeness; x as above, of the newest prompt; z = log(1 + its voxels
# to the mask), n = log(1 + voxels to a negative prompt), e = log(1 + voxels from the mask). Fitted beside the click model's own answers
EXTRA = (-6.318, -1.142, 1.380, 1.979, -1.411, 2.128)  # the same from the other side, of a newest prompt that says "not" within the mask. A
# fit to crops says that it finds no mistake before the prompt's neighbours do; these, once fitted for MISSING, brought five clicks on test
# sarcomas from .726 to .755
FAR = 60.  # voxels; a prompt of the other sign further away than this, or none, makes no difference


def chances(marks: Sequence[Mark], mask: Tensor, image: Tensor, ways: Paths) -> Tensor | None:
    """Chance (k, j, i) that voxels which are not object yet belong to it; None where prompts say nothing about that.

    mask bool (k, j, i); image (k, j, i), -1..1; ways: of all marks.
    """
    if not mask.any():
        return begun(ways) if ways.begun else None
    newest = _newest(marks, True)
    return missing(paths(newest, image), mask, ways) if newest else None


def mistakes(marks: Sequence[Mark], mask: Tensor, image: Tensor, ways: Paths) -> Tensor | None:
    """Chance (k, j, i) that voxels of the mask do not belong to the object; None where prompts say nothing about that, as when nothing says
    what of it is right. As of `chances`."""
    newest = _newest(marks, False)
    return extra(paths(newest, image), mask, ways) if newest and mask.any() and ways.begun else None


def begun(ways: Paths) -> Tensor:
    """Chance (k, j, i) that a voxel belongs to an object of which nothing is known but prompts."""
    return _sigmoid(BEGUN, begun_terms(ways))


def missing(newest: Paths, mask: Tensor, ways: Paths) -> Tensor | None:
    """Chance (k, j, i) that a voxel outside of a mask was missed together with the newest prompt's; None if that lies in the mask."""
    terms = missing_terms(newest, mask, ways)
    return None if terms is None else _sigmoid(MISSING, terms)


def extra(newest: Paths, mask: Tensor, ways: Paths) -> Tensor | None:
    """Chance (k, j, i) that a voxel of a mask is as wrong as the newest prompt's; None if that lies beside the mask."""
    terms = missing_terms(newest.turned, ~mask, ways.turned)
    return None if terms is None else _sigmoid(EXTRA, terms)


def begun_terms(ways: Paths) -> tuple[Tensor, ...]:
    """What BEGUN weighs, each (k, j, i)."""
    x = ways.inside.log1p()
    return torch.ones_like(x), x, x ** 2, ways.nearness[1]


def missing_terms(newest: Paths, mask: Tensor, ways: Paths) -> tuple[Tensor, ...] | None:
    """What MISSING weighs, each (k, j, i); EXTRA too, with everything turned."""
    away = torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy())).float()
    gap = max((float(away[tuple(at)]) for at in newest.starts[0]), default=0.)
    if gap == 0:
        return None
    x = newest.inside.log1p()
    return torch.ones_like(x), x, torch.full_like(x, gap).log1p(), ways.outside.clamp(max=FAR).log1p(), away.log1p(), newest.likeness[0]


def _newest(marks: Sequence[Mark], inside: bool) -> list[Mark]:
    return [mark for mark in marks if mark.age == 0 and mark.inside == inside and mark.kind != "region"]


def _sigmoid(weights: Sequence[float], terms: Sequence[Tensor]) -> Tensor:
    return sum(weight * term for weight, term in zip(weights, terms)).sigmoid()
