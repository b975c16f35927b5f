"""Priors as segmentors give them, made from the truth: grown, shrunk, leaking, bitten, cut off, forgotten, misnamed, unsure.

A refiner that learns from its segmentor's answers on that segmentor's own training images learns to leave them alone. These are wrong
by so many millimetres instead: an organ is a signed distance to its surface, and what goes wrong with it moves that surface.
"""
from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import ndimage

REACH_MM = 24.  # of a surface's influence; signed distances end there
TRUST = .95  # that a label without a probability is right
SHARPEST, SOFTEST = .3, 3.  # millimetres over which a probability falls from .73 to .27
MILDEST, WORST = .15, .7  # part of the movement below that an organ's surface makes
DROPPED, MISNAMED, GHOST, CUT, HARD = .02, .008, .06, .25, .35  # how often an organ, or a whole prior (HARD), is like that
SEARCHES = 24  # halvings towards a wanted Dice


def corrupted(truth: np.ndarray, classes: int, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """A prior float32 (classes, *spatial), background first, sums 1, of channels `truth` (*spatial), two or three axes of `spacing_mm`.

    How bad it is is drawn organ by organ: Dice with the truth spreads over .3 to .98, and some organs are lost. A third are
    labels without probabilities.
    """
    away_mm = np.full((classes, *truth.shape), REACH_MM, np.float32)
    away_mm[0] = 0
    for channel in range(1, classes):
        _draw_organ(away_mm[channel], truth == channel, random, spacing_mm)
    if classes > 2 and random.random() < MISNAMED * (classes - 1):
        one, other = random.choice(np.arange(1, classes), 2, replace=False)
        away_mm[[one, other]] = away_mm[[other, one]]
    if random.random() < HARD:
        return of_labels(away_mm.argmin(0), classes)
    softness_mm = float(np.exp(random.uniform(np.log(SHARPEST), np.log(SOFTEST))))
    return _softmax(-away_mm / softness_mm)


def of_labels(channels: np.ndarray, classes: int, trust: float = TRUST) -> np.ndarray:
    """A prior float32 (classes, *spatial) of labels that come without probabilities: `trust` for the label, the rest for all others alike.

    It depends on the voxel alone, so that the prior of a crop is the crop of the prior.
    """
    share = np.full((classes, classes), (1 - trust) / (classes - 1), np.float32)
    np.fill_diagonal(share, trust)
    return np.moveaxis(share[channels], -1, 0)


def corrupt_to(dice: float, truth: np.ndarray, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """Labels like `truth` (*spatial), whose organs each agree with it to `dice` (0..1), as nearly as voxels allow.

    An organ is first wrong in one way, drawn from `random`, then as much as it takes. Where two claim a voxel, the one that is
    deeper there gets it, which may cost another some of its Dice.
    """
    result, depth_mm = np.zeros_like(truth), np.zeros(truth.shape, np.float32)
    for label in np.unique(truth[truth > 0]):
        away_mm = _worsened_to(dice, truth == label, random, spacing_mm)
        claimed = -away_mm > depth_mm
        result[claimed], depth_mm[claimed] = label, -away_mm[claimed]
    return result


def signed_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Millimetres to the surface, negative inside, held within REACH_MM; float32, of the mask's shape."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, -REACH_MM if mask.all() else REACH_MM, np.float32)
    away = ndimage.distance_transform_edt(~mask, spacing_mm) - ndimage.distance_transform_edt(mask, spacing_mm)
    return away.clip(-REACH_MM, REACH_MM).astype(np.float32)


def _draw_organ(away_mm: np.ndarray, mask: np.ndarray, random: np.random.Generator, spacing_mm: Sequence[float]) -> None:
    """The organ, wrong by a drawn amount, into `away_mm`, which holds an organ that isn't there."""
    if not mask.any():
        if random.random() < GHOST:
            away_mm[:] = _ball(mask.shape, random.uniform(0, np.array(mask.shape)), random.uniform(3, 12), spacing_mm)
        return
    if random.random() < DROPPED:
        return
    slices = _room_around(mask, spacing_mm)
    true_mm = signed_mm(mask[slices], spacing_mm)
    wrong_mm = true_mm + (MILDEST + (WORST - MILDEST) * random.random() ** 2) * _moved_mm(true_mm, random, spacing_mm)
    if random.random() < CUT:
        wrong_mm = np.maximum(wrong_mm, _cut_off(mask[slices], random, spacing_mm))
    away_mm[slices] = wrong_mm


def _room_around(mask: np.ndarray, spacing_mm: Sequence[float]) -> tuple[slice, ...]:
    """The box of the mask with room to grow by REACH_MM."""
    tight, = ndimage.find_objects(mask.astype(np.uint8))
    room = [int(np.ceil(REACH_MM / mm)) for mm in spacing_mm]
    return tuple(slice(max(0, part.start - more), part.stop + more) for part, more in zip(tight, room))


def _moved_mm(away_mm: np.ndarray, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """How far surfaces retreat at the worst, in the measure of the organ's own thickness: all over, here and there, and in one place."""
    thick = max(float(-away_mm.min()), min(spacing_mm))
    moved = thick * random.normal(0, .35) + thick * random.uniform(.3, 1.) * _waves(away_mm.shape, thick * random.uniform(.7, 2.5), random, spacing_mm)
    surface = np.argwhere(np.abs(away_mm) < 1.5 * max(spacing_mm))
    centre = surface[random.integers(len(surface))] if len(surface) else np.array(away_mm.shape) / 2
    width = thick * random.uniform(.8, 2)
    bump = np.exp(-((_ball(away_mm.shape, centre, 0, spacing_mm) / width) ** 2) / 2)
    return moved + thick * random.choice([-2.5, -1.5, 0, 1.5]) * bump  # negative: leaks into the neighbours; positive: a bite


def _waves(shape: Sequence[int], wavelength_mm: float, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """Smooth noise with standard deviation 1."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape, dtype=np.float32), wavelength_mm / np.array(spacing_mm), mode="wrap")
    return noise / max(float(noise.std()), 1e-6)


def _cut_off(mask: np.ndarray, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """Millimetres beyond a plane through the organ, across one axis: slices that nobody contoured. Up to half of them."""
    axis = random.integers(mask.ndim)
    places = np.flatnonzero(mask.any(tuple(a for a in range(mask.ndim) if a != axis)))
    end, inwards = (places[0], 1) if random.random() < .5 else (places[-1], -1)
    lost = end + inwards * (len(places) * random.uniform(0, .5) - .5)
    ramp = (lost - np.arange(mask.shape[axis])) * inwards * spacing_mm[axis]
    return ramp.reshape([-1 if a == axis else 1 for a in range(mask.ndim)]).astype(np.float32)


def _ball(shape: Sequence[int], centre: np.ndarray, radius_mm: float, spacing_mm: Sequence[float]) -> np.ndarray:
    """Millimetres to the surface of a ball round a voxel."""
    axes = np.ogrid[tuple(map(slice, shape))]
    return np.sqrt(sum(((axis - at) * mm) ** 2 for axis, at, mm in zip(axes, centre, spacing_mm))).astype(np.float32) - np.float32(radius_mm)


def _softmax(logits: np.ndarray) -> np.ndarray:
    chances = np.exp(logits - logits.max(0))
    return chances / chances.sum(0)


def _worsened_to(dice: float, mask: np.ndarray, random: np.random.Generator, spacing_mm: Sequence[float]) -> np.ndarray:
    """Signed distances of the mask, moved as far as it takes: the amount is found by halving."""
    away_mm = np.full(mask.shape, REACH_MM, np.float32)
    slices = _room_around(mask, spacing_mm)
    true_mm, inside = signed_mm(mask[slices], spacing_mm), mask[slices]
    moved_mm = _moved_mm(true_mm, random, spacing_mm)
    low, high = 0., 4.
    for _ in range(SEARCHES):
        middle = (low + high) / 2
        low, high = (middle, high) if _dice(true_mm + middle * moved_mm < 0, inside) > dice else (low, middle)
    away_mm[slices] = true_mm + low * moved_mm
    return away_mm


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1.)
