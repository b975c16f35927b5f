"""Labelled MR shown as if it were CT, and labelled CT in another contrast phase: real anatomy and real neighbours for organs that few labelled CTs show.

Every person gets tissues of another phase, and what has no label a curve from MR brightness to HU that is drawn anew: nothing but shapes is the same twice
(domain randomisation; from MR to CT as in Ouyang et al., IEEE TMI 2023).
"""
from __future__ import annotations

from typing import Callable, Mapping

import numpy as np
from scipy import ndimage

from ...errors import BadInput
from ...preprocess import Preprocessing
from ...volume import LabelMap, Volume
from .contents import GAS
from .scan import noisy
from .tissues import Tissues, tissue_of

BRIGHT = Preprocessing((1., 1., 1.), ((0., 0.), (100., 1.)), "MR", body_percentile=95.)
SOMETHING = .05  # of the range: darker is air, within a body gas or lung
LUNG_ML = 80.
AIR = -1000.
SOFT_MM = .8  # over which a change of brightness fades: outlines are never exact
CHANGES = ("liver", "spleen", "cortex", "pancreas", "adrenal_gland", "aorta", "inferior_vena_cava", "portal_vein_and_splenic_vein", "artery", "vein", "heart")


def recoloured(seed: int, volume: Volume, labels: LabelMap) -> tuple[Volume, LabelMap]:
    """The MR volume (K, J, I), fat-suppressed and T2-weighted, as CT number `seed`: HU int16 on the same grid, and its labels as they were.

    Structures that no one HU stands for, such as a stomach, are shown as their surroundings are. BadInput for an image of several channels.
    """
    if volume.array.ndim != 3:
        raise BadInput(f"an MR of {len(volume.array)} channels cannot be shown as CT; give the data set one of them")
    random = np.random.default_rng((seed, 7))
    spacing = np.array(volume.geometry.spacing)
    bright = _even(_brightness(volume.array), spacing, random)
    body = _body(bright, spacing, random)
    tissues = Tissues.draw(random)
    hu = _curve(tissues.hu, random)(bright).astype(np.float32)
    _empty(hu, bright, body, spacing, random)
    for value, name in labels.names.items():
        if random.random() < .85 and tissue_of(name) in tissues.hu:
            _organ(hu, bright, labels.ids == value, tissues.hu[tissue_of(name)], name, random)
    hu = np.where(body, hu, AIR)
    image = noisy(ndimage.gaussian_filter(hu, (0, *[random.uniform(.3, .8)] * 2)), 1, random)
    return Volume(np.clip(np.rint(image), -1024, 3071).astype(np.int16), volume.geometry, "CT"), labels


def rephased(seed: int, volume: Volume, labels: LabelMap) -> Volume:
    """The CT (K, J, I) as it might look in another phase of contrast: every solid organ as bright as the phase's, with the texture that it has. HU int16."""
    random = np.random.default_rng((seed, 11))
    tissues, change = Tissues.draw(random), np.zeros(volume.array.shape, np.float32)
    for value, name in labels.names.items():
        mask, tissue = labels.ids == value, tissues.hu.get(tissue_of(name))
        if tissue is not None and tissue_of(name) in CHANGES and mask.any():
            change[mask] = tissue - np.median(volume.array[mask])
    sigma = SOFT_MM / np.array(volume.geometry.spacing)
    image = noisy(volume.array + ndimage.gaussian_filter(change, sigma), 1, random)
    return Volume(np.clip(np.rint(image), -1024, 3071).astype(np.int16), volume.geometry, "CT")


def _brightness(array: np.ndarray) -> np.ndarray:
    low, high = BRIGHT.ends(array)
    return ((array.astype(np.float32) - low) / (high - low)).clip(0, 1.5)


def _even(bright: np.ndarray, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Less, or none, of the slow change of brightness that coils leave."""
    there = (bright > SOMETHING).astype(np.float32)
    sigma = 50 / spacing
    slow = ndimage.gaussian_filter(bright * there, sigma) / np.maximum(ndimage.gaussian_filter(there, sigma), .05)
    usual = float(slow[there > 0].mean()) if there.any() else 1.
    return (bright * (usual / np.maximum(slow, usual / 4)) ** random.uniform(0, .8)).clip(0, 1.5)


def _body(bright: np.ndarray, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each slice's largest piece without holes and notches, as lungs and fat hardly shine, and round it as much more fat as this person has."""
    fat = random.uniform(0, 15) * (random.random() < .6)
    return np.stack([_grown(_largest(_opened(each > SOMETHING, spacing[1:], 4)), spacing[1:], 40, fat) for each in bright])


def _opened(plane: np.ndarray, spacing: np.ndarray, mm: float) -> np.ndarray:
    core = ndimage.distance_transform_edt(plane, sampling=spacing) > mm
    return ndimage.distance_transform_edt(~core, sampling=spacing) <= mm if core.any() else core


def _grown(plane: np.ndarray, spacing: np.ndarray, notch: float, more: float) -> np.ndarray:
    """Closed over notches of so many mm, filled, and larger by `more` mm."""
    if not plane.any():
        return plane
    room = [(int(np.ceil(notch / each)),) * 2 for each in spacing]
    near = ndimage.distance_transform_edt(~np.pad(plane, room), sampling=spacing) <= notch
    closed = ndimage.distance_transform_edt(near, sampling=spacing) > notch - more
    return ndimage.binary_fill_holes(closed)[tuple(slice(a, -b) for a, b in room)]


def _largest(plane: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(plane)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else plane


def _curve(values: Mapping[str, float], random: np.random.Generator) -> Callable[[np.ndarray], np.ndarray]:
    """HU of a brightness: dark is fat, as it is suppressed, less dark is muscle; what is brighter may be anything."""
    fat, muscle = random.uniform(.08, .16), random.uniform(.2, .32)
    at = (0, fat, muscle, random.uniform(.4, .6), random.uniform(.75, 1.), 1.5)
    hu = (values["fat"] - 10, values["fat"], values["muscle"], random.uniform(20, 130), random.uniform(0, 200), random.uniform(0, 220))
    return lambda bright: np.interp(bright, at, hu)


def _empty(hu: np.ndarray, bright: np.ndarray, body: np.ndarray, spacing: np.ndarray, random: np.random.Generator) -> None:
    """What holds no signal, in place: lungs where it is large, otherwise fat or gas."""
    empty = body & (ndimage.gaussian_filter(bright, (0, 1, 1)) < SOMETHING)
    pieces, count = ndimage.label(empty)
    for piece in range(1, count + 1):
        ml = float((pieces == piece).sum() * spacing.prod() / 1000)
        if ml > LUNG_ML:
            hu[pieces == piece] = random.choice([-850., -700., -105.], p=[.6, .1, .3])
        elif ml > 1 and random.random() < .5:
            hu[pieces == piece] = GAS


def _organ(hu: np.ndarray, bright: np.ndarray, mask: np.ndarray, tissue: float, name: str, random: np.random.Generator) -> None:
    """A labelled organ in its tissue's HU, in place, with the MR's own texture as strong as CT shows it, and sometimes inverted."""
    if not mask.any():
        return
    low, middle, high = np.percentile(bright[mask], (16, 50, 84))
    texture = ((bright[mask] - middle) / max(high - low, .02)).clip(-4, 4)
    hu[mask] = tissue + random.uniform(-1, 1) * (40 if name.startswith("kidney") else 15) * texture
