"""What body coordinates have to fulfil: offsets in one patient, agreement between views, and the same place in everybody.

All errors count in hundredths of a unit, which is about a centimetre: quadratic below one, linear above. Every loss is a
number a pair of views, so that a batch's mean is the same in one process and in several.
"""
from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .body_places import PEOPLE
from .body_views import View


@dataclass(frozen=True)
class Weights:
    """Of each loss in the sum."""

    offsets: float = 1.
    agreement: float = 1.
    places: float = 2.
    scale: float = 1.
    turned: float = 10.


def body_loss(u: Tensor, log_scale: Tensor, turned: Tensor, slope: Tensor, views: View, weights: Weights = Weights()) -> Tensor:
    """Weighted sum of the losses below, a scalar; shapes as there."""
    patient = torch.where(views.patient.isfinite(), views.patient, log_scale - views.log_scale)
    total = weights.offsets * offset_loss(u, slope, patient, views) + weights.agreement * agreement_loss(u, views)
    total = total + weights.places * place_loss(u, slope, views)
    total = total + weights.scale * scale_loss(log_scale, views) + weights.turned * turned_loss(turned, views)
    return total.mean()


def offset_loss(u: Tensor, slope: Tensor, log_scale: Tensor, views: View) -> Tensor:
    """L_rel of METHODS A1: u_i - u_j is S g (x_i - x_j) / 1000 for voxels i, j of one view. (B,)

    u (B, 2, 3, k, j, i); slope (3,) units a metre; log_scale (B, 2): log g of the patient, whatever the view's magnification.
    Signed offsets: distances would leave u free to be a mirror image.
    """
    at = _kji(views.pairs, u.shape[3:])  # (B, 2, n, 2, 3)
    x = _moved(at.flatten(2, 3), views.to_patient).unflatten(2, at.shape[2:4])
    wanted = (x[..., 0, :] - x[..., 1, :]) / 1000 * slope * log_scale.exp()[..., None, None]
    found = _picked(u, views.pairs)
    return _huber(found[..., 0] - found[..., 1] - wanted.movedim(-1, 2)).mean((1, 2, 3))


def agreement_loss(u: Tensor, views: View) -> Tensor:
    """L_inv: one place of the patient has one u, in whichever view it is seen. (B,)"""
    at = _kji(views.pairs[:, 0, :, 0], u.shape[3:])  # (B, n, 3) in the first view
    there = _moved(at, _from_first_to_second(views.to_patient))
    weight = _sampled(views.body[:, 1, None].float(), there)[:, 0] * _within(there, u.shape[3:])
    error = _huber(_picked(u[:, :1], views.pairs[:, :1, :, :1])[:, 0, ..., 0] - _sampled(u[:, 1], there)).mean(1)
    return _mean(error, weight)


def place_loss(u: Tensor, slope: Tensor, views: View) -> Tensor:
    """A place of the common body has the same u in everybody: S y / 1000, y in mm of that body, for patients laid over it. (B,)"""
    at = _kji(views.pairs[..., 0], u.shape[3:])  # (B, 2, n, 3)
    wanted = (_moved(at, views.to_body) / 1000 * slope).movedim(-1, 2)
    error = _huber(_picked(u, views.pairs[..., :1])[..., 0] - wanted.nan_to_num()).mean((2, 3))
    return _mean(error, views.patient.isfinite().float())


def scale_loss(log_scale: Tensor, views: View) -> Tensor:
    """A patient's scale, as known or alike in both views, which are larger than life or smaller; if unknown, ordinary give or take. (B,)

    The last is minus the log of a normal density: held any looser, every patient becomes as large as allowed, for that shortens
    all offsets that are not understood yet.
    """
    patient, known = log_scale - views.log_scale, views.patient.isfinite()
    wanted = torch.where(known, views.patient, patient.flip(1).detach())
    ordinary = .5 * (patient / PEOPLE).square() * ~known
    return (_huber(patient - wanted) + ordinary).mean(1)


def turned_loss(logits: Tensor, views: View) -> Tensor:
    """Cross-entropy of telling whether A and S run the wrong way in the flipped view, whatever becomes of R; logits (B, 2, 2). (B,)"""
    upside_down, back_to_front, _ = views.flips.unbind(-1)  # K, J, I
    return F.binary_cross_entropy_with_logits(logits, torch.stack([back_to_front, upside_down], -1).float(), reduction="none").mean((1, 2))


def _huber(error: Tensor) -> Tensor:
    return F.smooth_l1_loss(100 * error, torch.zeros_like(error), reduction="none", beta=1.)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the last axis; 0 where nothing has a weight."""
    return (values * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def _kji(flat: Tensor, shape: torch.Size) -> Tensor:
    """Flat indices (...) -> (..., 3) voxel indices."""
    return torch.stack([flat // (shape[1] * shape[2]), flat // shape[2] % shape[1], flat % shape[2]], -1).float()


def _moved(points: Tensor, matrix: Tensor) -> Tensor:
    """points (..., n, 3) by matrices (..., 3, 4)."""
    return points @ matrix[..., :3].mT + matrix[..., None, :, 3]


def _from_first_to_second(to_patient: Tensor) -> Tensor:
    """(B, 2, 3, 4) -> (B, 3, 4): kji of the first view to kji of the second."""
    first, second = to_patient.unbind(1)
    offset = torch.cat([first[..., :3], first[..., 3:] - second[..., 3:]], -1)
    return torch.linalg.solve(second[..., :3], offset)


def _picked(u: Tensor, flat: Tensor) -> Tensor:
    """u (B, V, 3, k, j, i) at flat indices (B, V, n, m) -> (B, V, 3, n, m)."""
    index = flat.flatten(2)[:, :, None].expand(-1, -1, 3, -1)
    return u.flatten(3).gather(3, index).unflatten(3, flat.shape[2:])


def _sampled(field: Tensor, kji: Tensor) -> Tensor:
    """field (B, C, k, j, i) at voxel positions (B, n, 3), linear, border values beyond the edges -> (B, C, n)."""
    size = torch.tensor(field.shape[2:], device=kji.device)
    unit = (2 * kji + 1) / size - 1
    return F.grid_sample(field, unit.flip(-1)[:, :, None, None], padding_mode="border", align_corners=False)[..., 0, 0]


def _within(kji: Tensor, shape: torch.Size) -> Tensor:
    """1 for positions inside the grid, else 0."""
    size = torch.tensor(shape, device=kji.device)
    return ((kji >= 0) & (kji <= size - 1)).all(-1).float()
