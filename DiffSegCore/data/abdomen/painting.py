"""Hounsfield units for a shape: every structure its tissue, and for what has no label the fat, muscle and vessels that lie there."""
from __future__ import annotations

from typing import Iterator, Mapping

import numpy as np
from scipy import ndimage

from .bodies import FINE_MM
from .contents import GAS, filled, speckled
from .shapes import Shape, smooth
from .tissues import Tissues, tissue_of

AIR = -1000.
GRAIN = {"bone": 35., "lung": 25., "fat": 7., "muscle": 7., "heart": 8.}  # HU of texture; 5 elsewhere
LESIONS = {"liver": (.35, (-60., 25.), (4., 22.)), "spleen": (.1, (-50., 20.), (4., 15.)), "kidney_right": (.25, (-150., -40.), (4., 18.)),
           "kidney_left": (.25, (-150., -40.), (4., 18.)), "pancreas": (.08, (-50., -10.), (3., 9.))}  # chance, HU, radius mm


def painted(shape: Shape, names: Mapping[int, str], tissues: Tissues, random: np.random.Generator) -> np.ndarray:
    """HU float32 (K, J, I)."""
    size = shape.ids.shape
    fine, middle = smooth(size, 1.5, random), smooth(size, 4, random)
    coarse, other = smooth(size, 10, random), smooth(size, 6, random)
    threads = middle ** 2 + other ** 2  # small where two surfaces cross: lines that look like vessels
    hu = _surroundings(shape, names, tissues, fine, middle, coarse, threads, random)
    oral = float(random.uniform(110, 380)) if random.random() < .3 else 0.
    for name, box, mask in _structures(shape.ids, names):
        part, noise = hu[box], (fine[box], middle[box], coarse[box])
        _paint(part, mask, name, shape.front[box], noise, threads[box], tissues, oral, random)
    return hu


def _structures(ids: np.ndarray, names: Mapping[int, str]) -> Iterator[tuple[str, tuple[slice, ...], np.ndarray]]:
    """(name, its box with two voxels of room, its mask there)."""
    for value, place in enumerate(ndimage.find_objects(ids), 1):
        if place is not None and value in names:
            box = tuple(slice(max(0, each.start - 2), each.stop + 2) for each in place)
            yield names[value], box, ids[box] == value


def _paint(hu: np.ndarray, mask: np.ndarray, name: str, front: np.ndarray, noise: tuple[np.ndarray, ...], threads: np.ndarray, tissues: Tissues,
           oral: float, random: np.random.Generator) -> None:
    """One structure, in place."""
    (fine, middle, coarse), tissue, values = noise, tissue_of(name), tissues.hu
    if tissue == "hollow":
        inside = ndimage.binary_erosion(mask, iterations=int(random.integers(1, 3)))
        filled(hu, mask, inside, name, front, middle, coarse, values["wall"] + random.normal(0, 6), oral, random)
    elif tissue == "bone":
        core = ndimage.binary_erosion(mask)
        hu[mask] = np.where(core, values["marrow"] + 35 * middle, values["cortical"] * (1 + .25 * fine))[mask]
    elif tissue == "cortex":
        _kidney(hu, mask, fine, middle, coarse, values, tissues.phase, random)
    elif tissue == "lung":
        hu[mask] = (values["lung"] + 25 * fine - 60 * front + 30 * coarse)[mask]  # denser behind, where the blood sinks to
        hu[mask & (threads < .06)] = random.uniform(-100, 60)
    elif tissue == "bladder":
        layer = random.uniform(50, 500) if tissues.phase == "late" else 0
        hu[mask] = (random.uniform(-2, 14) + 2 * fine + layer * (front < np.median(front[mask])))[mask]
    elif tissue == "airway":
        hu[mask] = GAS
    else:
        hu[mask] = (values[tissue] + GRAIN.get(tissue, 5.) * (.7 * middle + .5 * fine))[mask]
        _inside(hu, mask, name, noise, threads, tissues, random)
    if name in LESIONS:
        chance, offset, radius = LESIONS[name]
        speckled(hu, mask, FINE_MM, chance, offset, radius, random)


def _kidney(hu: np.ndarray, mask: np.ndarray, fine: np.ndarray, middle: np.ndarray, coarse: np.ndarray, values: Mapping[str, float], phase: str,
            random: np.random.Generator) -> None:
    """Cortex round pyramids, and in the hollow of its hilum fat with the pelvis in it."""
    core = ndimage.binary_erosion(mask, iterations=2)
    pyramid = core & (middle > random.uniform(-1, .2))
    hu[mask] = (np.where(pyramid, values["medulla"], values["cortex"]) + 5 * fine)[mask]
    sinus = ndimage.binary_closing(np.pad(mask, 8), iterations=6)[(slice(8, -8),) * 3] & ~mask & (hu < -40)
    urine = random.uniform(200, 900) if phase == "late" else random.uniform(0, 18)
    hu[sinus & (coarse + middle > .6)] = urine


def _inside(hu: np.ndarray, mask: np.ndarray, name: str, noise: tuple[np.ndarray, ...], threads: np.ndarray, tissues: Tissues,
            random: np.random.Generator) -> None:
    """Vessels of the liver, a spleen that fills unevenly, gas in the esophagus, chalk in arteries, layers and stones in the gallbladder."""
    (fine, middle, coarse), values = noise, tissues.hu
    if name == "liver":
        vein = values["portal_vein_and_splenic_vein"] + random.normal(0, 8)
        core = ndimage.binary_erosion(mask, iterations=3)
        hu[core & (threads < .05)] = vein
    elif name == "spleen" and tissues.phase == "arterial":
        hu[mask] += (random.uniform(5, 30) * middle)[mask]
    elif name == "pancreas" and random.random() < .5:
        hu[mask & (fine + middle > 1.6)] = values["fat"] / 2  # fat between its lobules
    elif name == "esophagus" and random.random() < .5:
        hu[ndimage.binary_erosion(mask, iterations=2) & (coarse > 0)] = GAS / 2
    elif name == "aorta" and random.random() < .4:
        shell = mask & ~ndimage.binary_erosion(mask)
        hu[shell & (middle + fine > random.uniform(1.5, 2.5))] = random.uniform(350, 900)
    elif name == "inferior_vena_cava" and tissues.phase in ("arterial", "venous"):
        hu[mask] += (random.uniform(0, 20) * coarse)[mask]  # blood with and without contrast, not mixed yet
    elif name == "gallbladder" and random.random() < .2:
        hu[mask & (coarse + fine < -.8)] += random.uniform(20, 200)
    elif name == "costal_cartilages" and random.random() < .5:
        hu[mask & ~ndimage.binary_erosion(mask)] += random.uniform(50, 250)


def _surroundings(shape: Shape, names: Mapping[int, str], tissues: Tissues, fine: np.ndarray, middle: np.ndarray, coarse: np.ndarray,
                  threads: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Everything without a label: skin, fat and muscle round the hull of what has one, and inside it fat with vessels, muscle near bones."""
    values, depth, back = tissues.hu, shape.depth, (-shape.front).clip(0, 1)
    slow = smooth(depth.shape, 60, random)
    wall = random.uniform(7, 17) * (1 - .8 * back) + .5 * coarse
    fat = np.maximum(2., random.lognormal(2.8, .6) * (1 + .2 * slow + random.uniform(-.3, .6) * back))
    muscle = _muscle(shape, names, depth, wall, middle, coarse, random)
    hu = np.where(muscle, values["muscle"] + 7 * middle, values["fat"] + 6 * middle).astype(np.float32)
    hu[muscle & (fine + middle > random.uniform(1.5, 3))] = values["fat"] / 2  # streaks
    inner = (depth > 0) & ~muscle
    if random.random() < .12:  # swollen or wet mesentery, up to free fluid
        hu[inner] += random.choice([20., 50., 112.])
    if random.random() < .8:
        hu[inner & (threads < random.uniform(.03, .1))] = values[str(random.choice(["artery", "vein", "portal_vein_and_splenic_vein"]))]
    hu[inner & (coarse > random.uniform(1.3, 3))] = values["soft"]  # nodes, and bowel that nobody labelled
    outer = depth + wall + fat
    hu[outer < random.uniform(1.5, 4)] = values["skin"]
    hu[outer < 0] = AIR
    if random.random() < .6:
        _table(hu, outer, random)
    return hu


def _muscle(shape: Shape, names: Mapping[int, str], depth: np.ndarray, wall: np.ndarray, middle: np.ndarray, coarse: np.ndarray,
            random: np.random.Generator) -> np.ndarray:
    """The wall of the trunk, what lies between bones and muscles, and the diaphragm under the lungs."""
    tissue = np.zeros(256, np.int8)
    for value, name in names.items():
        tissue[value] = {"bone": 1, "muscle": 1, "cartilage": 1, "lung": 2}.get(tissue_of(name), 0)
    kind = tissue[shape.ids]
    frame = ndimage.uniform_filter((kind == 1).astype(np.float32), 9)
    near = frame + .04 * middle > random.uniform(.16, .3)
    under = ndimage.uniform_filter((kind == 2).astype(np.float32), 5)
    diaphragm = (under > .1) & (coarse > random.uniform(-1.5, 0))
    return (near & (depth > -wall)) | ((depth < random.uniform(2, 6)) & (depth > -wall)) | (diaphragm & (depth > 0))


def _table(hu: np.ndarray, outer: np.ndarray, random: np.random.Generator) -> None:
    """A couch behind the back, hollow, and bent or flat."""
    lying = np.flatnonzero((outer > 0).any((0, 2)))
    if not len(lying):
        return
    j, i = np.ogrid[:hu.shape[1], :hu.shape[2]]
    bend = random.uniform(0, .004) * (i - hu.shape[2] / 2) ** 2 * FINE_MM / 2
    height = j - (lying[0] - random.uniform(1, 4) + bend)
    air = hu < -900
    hu[air & (np.abs(height) < 1)[None]] = random.uniform(-600, 100)
    hu[air & (np.abs(height + random.uniform(8, 20)) < 1)[None]] = random.uniform(-700, 0)
