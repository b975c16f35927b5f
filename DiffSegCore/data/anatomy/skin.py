"""The surface of the body, from the top of the head to the chest."""

from __future__ import annotations

import numpy as np

from ..shapes import Shape, joined, loft, mirrored, tube

# superior, half width, front, back, taper
_SKIN = (
    (-290, 232, 40, -190, 0.0), (-170, 230, 15, -180, 0.0), (-135, 222, 0, -175, 0.0), (-112, 200, -8, -168, 0.0),
    (-95, 158, -10, -158, 0.0), (-80, 100, -4, -144, 0.0), (-65, 72, 2, -132, 0.0), (-52, 66, 12, -125, 0.1),
    (-44, 66, 38, -121, 0.2), (-30, 69, 52, -119, 0.25), (-10, 73, 58, -122, 0.25), (10, 75, 56, -129, 0.2),
    (30, 77, 52, -139, 0.15), (50, 79, 46, -147, 0.1), (70, 79, 48, -149, 0.05), (100, 76, 47, -148, 0.0),
    (130, 61, 22, -128, 0.0), (146, 40, -16, -98, 0.0), (153, 12, -44, -70, 0.0),
)  # fmt: skip


def outline_of(build: float) -> Shape:
    """`build`: girth of neck and trunk, 1 is average; the head hardly changes."""
    rows = np.array(_SKIN, float)
    girth = 1 + (build - 1) * np.interp(rows[:, 0], (-80, 20), (1.5, 0.3))
    rows[:, 1] *= girth
    rows[:, 3] *= girth
    arm = tube([(160, -88, -108), (198, -94, -150), (196, -90, -290)], (30, 40, 42), (1, 1.25, 1))
    return joined(loft(rows), mirrored(arm), blend_mm=20)
