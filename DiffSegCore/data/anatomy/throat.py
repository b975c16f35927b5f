"""The airway from the palate to the bronchi, the larynx round it and the esophagus behind it."""

from __future__ import annotations

import numpy as np

from ..canvas import Part
from ..shapes import above, ellipsoid, joined, mirrored, tube
from .individual import AIR, Individual
from .labels import ESOPHAGUS, LARYNX


def airway(who: Individual) -> list[Part]:
    """In the order of painting: what is later lies inside or over what is earlier."""
    shift = who.rng.normal(0, 1, 3) * (0.8, 2.0, 4.0)
    wide = who.sized((1, 1, 1), 0.15)
    mouth = ellipsoid((0, 22, 17), (20, 24, who.rng.uniform(2, 8)))
    pharynx = tube(
        [(0, -22, 46), (0, -27, 20), (0, -29, -10), (0, -25, -36), shift + (0, -25, -50)],
        (7 * wide[0], 6 * wide[1], 7.5 * wide[2], 8, 6), (1.7, 1, 1),
    )  # fmt: skip
    trachea = tube([shift + (0, -23, -80), (0, -37, -120), (0, -60, -170), (0, -82, -222)], 8.2 * wide[0] ** 0.5)
    bronchi = mirrored(tube([(0, -82, -220), (32, -92, -255)], 7))
    return [
        Part(mouth, ((-1.0, 30.0), (0.0, AIR if who.rng.random() < 0.5 else 40.0))),
        Part(pharynx, ((-3.0, 45.0), (0.0, AIR))),
        *_esophagus(who, shift),
        *_larynx(who, shift),
        Part(trachea, ((-2.5, 70.0), (0.0, AIR))),
        Part(bronchi, ((-2.0, 50.0), (0.0, AIR))),
    ]


def _esophagus(who: Individual, shift: np.ndarray) -> list[Part]:
    """From the cricoid down, left of the middle, flattened; swallowed air in some people."""
    path = np.array([shift + (1, -44, -86), (4, -55, -120), (5, -79, -170), (4, -100, -222), (6, -118, -290)])
    radii = who.sized((5.8, 6.1, 6.7), 0.08)[[0, 1, 2, 2, 2]]
    gullet = Part(tube(path, radii, (1.3, 0.9, 1)), ((0.0, who.near(38, 6)),), ESOPHAGUS)
    if who.rng.random() < 0.45:
        return [gullet]
    lumen = tube(path[1:3] + who.near(0, 1), who.rng.uniform(1.2, 3.0), (1.4, 0.8, 1))
    return [gullet, Part(lumen, ((0.0, AIR),))]


def _larynx(who: Individual, shift: np.ndarray) -> list[Part]:
    """Soft tissue between the shields of the thyroid cartilage, the cricoid ring, and the glottis narrowing the air."""
    size = who.sized((1, 1, 1), 0.07)
    cartilage_hu = 110 + 330 * who.calcified

    def at(*points):
        return [tuple(shift + np.array(point) * (size[0], 1, 1) + (0, -24, -63)) for point in points]

    whole = joined(
        tube(at((0, 14, -8), (0, 12, 7)), 6), mirrored(tube(at((9, -7, -7), (9, -7, 7)), 8)),
        tube(at((0, 0, -9), (0, 0, 9)), 11.5), blend_mm=10,
    )  # fmt: skip
    tall = (1, 1, 3.2 * size[2])
    shield = tube(at((0, 16, 1), (10, 6, 1), (16, -9, 2)), (2.3, 2.2, 2.2), tall)
    cricoid = tube(at((0, 10, -17), (11, 3, -16), (10, -10, -13), (0, -14, -12)), (2.6, 2.4, 3, 3.2), (1, 1, 1.7))
    hyoid = tube(at((0, 20, 26), (14, 12, 27), (22, -6, 30)), (4, 3, 2.2))
    air = [
        tube(at((0, -3, 13), (0, -1, 5), (0, 0, 1), (0, 0, -4), (0, -1, -17)), (7, 5, 2.5, 5.5, 8), (0.85, 1.25, 1)),
        mirrored(ellipsoid(at((11, -12, 8))[0], (4, 5, 9))),
    ]
    lowest, highest = at((0, 0, -19 * size[2]), (0, 0, 17 * size[2]))
    whole = above(above(whole, lowest, (0, 0, 1)), highest, (0, 0, -1))
    return [
        Part(whole, ((0.0, who.near(45, 8)),), LARYNX),
        Part(ellipsoid(at((0, 7, 4))[0], (6, 4, 9)), ((0.0, -60.0),)),   # the fat before the epiglottis
        Part(mirrored(shield), ((0.0, cartilage_hu),)),
        Part(mirrored(cricoid), ((0.0, cartilage_hu),)),
        Part(mirrored(hyoid), who.bone(0.7, 1.5, 0.5)),
        *(Part(shape, ((0.0, AIR),)) for shape in air),
    ]
