"""Resampling to the model grid against SimpleITK: a synthetic CT, int16, 240 x 512 x 512 at 1.25 x .9 x .9 mm.

Onto 2.5 x 4 x 4 mm SimpleITK averages blocks first (BinShrink), as we do; onto 1.5 mm neither averages.
"""
from __future__ import annotations

import numpy as np
import SimpleITK as sitk
import torch

from DiffSegCore.geometry import Geometry
from DiffSegCore.resample import block_size, resample
from DiffSegCore.volume import Volume

from .measure import THREADS, Finding, fastest, report
from .scans import scan


def by_simpleitk(volume: Volume, target: Geometry) -> np.ndarray:
    image, onto = sitk.GetImageFromArray(volume.array), sitk.Image(target.shape[::-1], sitk.sitkUInt8)
    volume.geometry.stamp(image)
    blocks = [block_size(own, wanted) for own, wanted in zip(volume.geometry.spacing, target.spacing)]
    if max(blocks) > 1:
        image = sitk.BinShrink(image, blocks[::-1])
    target.stamp(onto)
    found = sitk.Resample(image, onto, sitk.Transform(), sitk.sitkLinear, -1000.0, sitk.sitkFloat32)
    return sitk.GetArrayViewFromImage(found).copy()


def run(small: bool = False) -> list[Finding]:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(THREADS)
    volume = scan((60, 128, 128) if small else (240, 512, 512), (1.25, 0.9, 0.9))
    findings = []
    for spacing in ((2.5, 4.0, 4.0), (1.5, 1.5, 1.5)):
        target = volume.geometry.resampled(spacing)
        seconds = fastest({"ours": lambda: resample(volume.array, volume.geometry, target, outside=-1000),
                           "SimpleITK": lambda: by_simpleitk(volume, target)}, repeats=1 if small else 8)
        findings.append(Finding(f"times faster than SimpleITK onto {spacing} mm", seconds["SimpleITK"] / seconds["ours"], least=2))
    difference = resample(volume.array, volume.geometry, target, outside=-1000) - torch.from_numpy(by_simpleitk(volume, target))
    return [*findings, Finding("largest difference at 1.5 mm, HU", float(difference.abs().max()), most=0.01)]


if __name__ == "__main__":
    report(run, __doc__)
