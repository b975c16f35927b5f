"""Skin and fat from head to chest; muscles, lungs, ribs and shoulders."""

from __future__ import annotations

import numpy as np

from ..canvas import Part
from ..shapes import ellipsoid, joined, mirrored, slab, tube, within
from .individual import LUNG, Individual, soft


def outline(who: Individual) -> list[Part]:
    filling = 0.75 * who.muscle_hu + 0.25 * who.fat_hu
    return [Part(who.skin, ((0.0, who.near(0, 25)), (1.8, who.fat_hu), (who.fat_mm, filling)))]


def chest(who: Individual) -> list[Part]:
    muscles = (
        mirrored(tube([(60, -8, -150), (130, -30, -180)], (24, 12), (1, 0.6, 1.6))),                # pectoral
        mirrored(tube([(40, -150, -120), (150, -140, -130), (150, -140, -260)], 26, (1, 0.75, 1))),   # back
        mirrored(tube([(165, -90, -104), (200, -95, -150), (196, -90, -280)], (30, 30, 34), (1, 1.3, 1))),  # arm
    )
    parts = [soft(within(muscle, who.skin, who.fat_mm), who.muscle_hu) for muscle in muscles]
    parts += [
        soft(ellipsoid((0, -75, -250), (45, 68, 120)), 45 + 0.3 * who.contrast),                               # mediastinum
        soft(tube([(-12, -45, -290), (-14, -48, -195), (-22, -90, -205), (-24, -115, -290)], 13), 45 + who.contrast),   # aorta
    ]
    lung = mirrored(ellipsoid((80, -82, -232), who.sized((56, 74, 122), 0.04)))
    parts += [Part(lung, ((-5.0, 40.0), (0.0, who.near(LUNG, 25))))]
    return parts + [_rib(who, level) for level in (-132, -152, -174, -197, -221, -246, -271)] + _shoulder(who)


def _rib(who: Individual, level: float) -> Part:
    """Half a sloping ring round the apex of the lung, on both sides."""
    height = np.sqrt(max(0.15, 1 - ((level + 8 + 232) / 130) ** 2))
    angle = np.radians(np.linspace(-80, 75, 8))
    right = 68 + 66 * height * np.cos(angle) - 12 * (angle > 1)
    ring = np.stack([right, -82 + 84 * height * np.sin(angle), level - 16 * np.sin(angle)], -1)
    return Part(mirrored(tube(ring, 3.6, (1, 1, 1.7))), who.bone(0.6, 2.0, 0.25))


def _shoulder(who: Individual) -> list[Part]:
    clavicle = tube([(14, -14, -128), (60, -16, -116), (105, -48, -98), (148, -78, -94)], (8, 6, 6, 7))
    scapula = joined(
        tube([(95, -148, -120), (118, -146, -215)], (4, 4), (5, 1, 1)),
        tube([(88, -152, -118), (135, -138, -98), (162, -88, -92)], (4, 5, 7)),
        tube([(110, -142, -130), (160, -98, -108)], (5, 11)),
    )
    humerus = tube([(178, -90, -118), (188, -92, -150), (194, -92, -290)], (23, 13, 11))
    sternum = slab((-20, -14, -215), (20, 0, -136))
    shapes = ((clavicle, 0.9, 3), (scapula, 0.7, 3), (humerus, 0.8, 4))
    parts = [Part(mirrored(shape), who.bone(density, cortex, 0.2)) for shape, density, cortex in shapes]
    return parts + [Part(sternum, who.bone(0.45, 2.5, 0.2))]
