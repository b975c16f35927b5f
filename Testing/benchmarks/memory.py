"""Peak memory of segmenting a synthetic 512 x 512 x 600 CT in a fresh process, the scan itself counted, and how time grows with the body.

Time is measured on 96 and 288 model planes of the same body. n half-overlapping windows lie in (n + 1)/2 window heights, so the
seconds a litre rise from 3 to 11 windows by 1.22 and towards 1.33 in an endless body.
"""
from __future__ import annotations

import sys

import numpy as np
import torch

from DiffSegCore.geometry import Geometry
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import Volume

from .measure import THREADS, Finding, fastest, peak_gb, print_peak, report
from .models import product_model


def cylinder(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], radius_mm: float) -> Volume:
    """A body of 40 HU with noise along K, in air."""
    j, i = np.ogrid[:shape[1], :shape[2]]
    away = ((j - shape[1] / 2) * spacing_mm[1]) ** 2 + ((i - shape[2] / 2) * spacing_mm[2]) ** 2
    plane = np.where(away < radius_mm ** 2, 40, -1000) + np.random.default_rng(0).normal(0, 15, shape[1:])
    array = np.empty(shape, np.int16)
    array[:] = plane.astype(np.int16)
    return Volume(array, Geometry(shape, np.diag([*spacing_mm[::-1], 1.0])), "CT")


def run(small: bool = False) -> list[Finding]:
    segmenter = Segmenter(product_model()[0], "cpu")
    heights = (48, 96) if small else (96, 288)
    stacks = {str(height): cylinder((height, 128, 128), (2.5, 4.0, 4.0), 90) for height in heights}
    seconds = fastest({name: lambda volume=volume: segmenter.segment(volume) for name, volume in stacks.items()}, repeats=1 if small else 2)
    each = [time / int(height) for height, time in seconds.items()]
    return [Finding(f"seconds a litre, {heights[-1]} planes over {heights[0]}", each[-1] / each[0], most=1.4),
            Finding("peak memory of 512 x 512 x 600, GB", peak_gb("memory", "--peak", *(["--small"] if small else [])), most=6)]


def _peak(small: bool) -> None:
    torch.set_num_threads(THREADS)
    volume = cylinder((60, 128, 128) if small else (600, 512, 512), (1.0, 0.9, 0.9), 90)
    Segmenter(product_model()[0], "cpu").segment(volume)
    print_peak()


if __name__ == "__main__":
    if "--peak" in sys.argv:
        _peak("--small" in sys.argv)
    else:
        report(run, __doc__)
