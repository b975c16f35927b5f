"""Images made from labels alone: every structure gets a brightness and a grain of its own, drawn anew for each image.

A network that learns on them cannot know what an organ looks like, so it has to go by what the prompts say and where the image
changes (the idea of SynthSeg, Billot et al. 2023). Also objects that nobody labelled: what hangs together in an image and looks alike.
"""
from __future__ import annotations

from typing import Sequence

import numpy as np
from scipy import ndimage

TISSUES = 4  # kinds of matter that what has no label is made of
LEAST, MOST = 40, .2  # voxels of a grown object, and its share of the image at most


def synthesised(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An image float32 (*spatial) of labels (*spatial), 0 being whatever lies around: brightness about 0 to 1, any contrast.

    Texture, partial volume (now and then slices thicker than voxels), a slow drift of brightness, and noise, all drawn from `random`.
    """
    kinds, which = np.unique(np.where(labels > 0, labels.astype(np.int32) + TISSUES, _tissues(labels.shape, random)), return_inverse=True)
    which = which.reshape(labels.shape)
    bright, grain = random.uniform(0, 1, len(kinds)), random.uniform(0, .12, len(kinds)) * random.uniform(0, 1)
    image = bright[which] + grain[which] * smooth_noise(labels.shape, random.uniform(.5, 2), random)
    blur = random.uniform(.3, 1.) * np.ones(labels.ndim)
    if random.random() < .3:
        blur[random.integers(labels.ndim)] = random.uniform(1, 2)
    image = ndimage.gaussian_filter(image, blur) * np.exp(random.uniform(0, .3) * smooth_noise(labels.shape, max(labels.shape) / 4, random))
    return (image + random.uniform(.005, .06) * random.standard_normal(labels.shape)).astype(np.float32)


def grown_object(image: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    """bool (*spatial): what is as bright as a place drawn near the middle of the image (*spatial, -1..1) and hangs together with it.

    None where that is a crumb or half of the image.
    """
    calm = ndimage.gaussian_filter(image, 1.)
    place = tuple(int(n / 2 + random.uniform(-.2, .2) * n) for n in image.shape)
    pieces, _ = ndimage.label(ndimage.binary_opening(np.abs(calm - calm[place]) < random.uniform(.04, .15)))
    found = ndimage.binary_closing(np.pad(pieces == pieces[place], 2), iterations=2)[(slice(2, -2),) * image.ndim]
    return found if pieces[place] and LEAST <= found.sum() <= MOST * found.size else None


def smooth_noise(shape: Sequence[int], width: float, random: np.random.Generator) -> np.ndarray:
    """Noise with standard deviation 1, smooth over `width` voxels; made coarsely and enlarged where it is very smooth."""
    factor = max(1, int(width / 2))
    coarse = random.standard_normal([n // factor + 3 for n in shape])
    coarse = ndimage.gaussian_filter(coarse, width / factor, mode="wrap")
    fine = ndimage.zoom(coarse, factor, order=1) if factor > 1 else coarse
    fine = fine[tuple(slice(n) for n in shape)]
    return (fine - fine.mean()) / max(float(fine.std()), 1e-6)


def _tissues(shape: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """Numbers 0 .. TISSUES - 1 in smooth patches: muscle, fat and the like, in which labelled structures lie."""
    noise = smooth_noise(shape, random.uniform(3, 10), random)
    cuts = np.sort(random.normal(0, 1, random.integers(0, TISSUES)))
    return np.digitize(noise, cuts)
