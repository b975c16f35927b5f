"""From a click to its edit on 512 x 512 x 300 voxels, the first click included: half and 95 % of clicks take no longer than this.

Ten scripted clicks, on nothing, on a small and on a large label, inside and out, with undo and redo between. With random weights an
answer is the prompt's own push, which wants one look, or two; the slowest a click can be, four looks, is timed apart. Against the
nnInteractive architecture, a residual U-Net as nnU-Net plans it (six stages, eight channels in: image, previous mask, prompts) on its
own patch of 192^3, and MONAI's DiffusionModelUNet on ours, as many steps as a look takes: random weights, fp32.
"""
from __future__ import annotations

import math
import time
from typing import Callable

import numpy as np
import torch
from torch import Tensor, nn

from DiffSegCore.clicking import MOST_LOOKS
from DiffSegCore.crops import IMAGE_CHANNELS
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.registry import load_click_model
from DiffSegCore.session import RefinementSession
from DiffSegCore.volume import LabelMap, Volume

from .measure import Finding, fastest, report
from .refining import monai, peers
from .scans import scan

WIDTHS = (16, 32, 64, 96, 128)
NNINTERACTIVE = 192  # voxels along a side of its patch


def click_model() -> tuple[Model, bool]:
    """The bundled one, or random weights in its place, and whether it is trained."""
    try:
        return load_click_model(), True
    except BadInput:
        architecture = {"kind": "refiner", "image_channels": IMAGE_CHANNELS, "prompt_channels": PROMPT_CHANNELS, "widths": list(WIDTHS)}
        knots = ((-1000., -1.), (-150., -.6), (250., .6), (1000., 1.))
        return Model(build(architecture).eval(), architecture, Preprocessing((2.,) * 3, knots), (), (48,) * 3, {"refiner": RefinerCard().to_dict()}), False


def labelled(volume: Volume) -> LabelMap:
    """A large block and a small one."""
    ids, shape = np.zeros(volume.geometry.shape, np.uint8), np.array(volume.geometry.shape)
    for label, (low, high) in enumerate(((.3, .6), (.7, .75)), 1):
        ids[tuple(slice(int(low * n), int(high * n)) for n in shape)] = label
    return LabelMap(ids, volume.geometry, {1: "block", 2: "lump"})


def clicks(session: RefinementSession, geometry: Geometry) -> list[float]:
    """Seconds of each."""
    fresh, seconds = session.add_label("finding"), []
    where = [(.15, fresh, True), (.61, 1, True), (.59, 1, False), (.76, 2, True), (.2, fresh, True), (.45, 1, False), (.62, 1, True), (.74, 2, False),
             (.85, fresh, True), (.17, fresh, False)]
    for share, label, inside in where:
        began = time.perf_counter()
        session.add_point(geometry.to_ras(np.array(geometry.shape) * share), label, inside=inside)
        seconds.append(time.perf_counter() - began)
        session.undo()
        session.redo()
    return seconds


def residual_unet(small: bool) -> Callable[[], Tensor]:
    """nnU-Net's residual encoder (ResEnc-L) with the eight input channels of nnInteractive."""
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    stages = 3 if small else 6
    features, blocks = (32, 64, 128, 256, 320, 320)[:stages], (1, 3, 4, 6, 6, 6)[:stages]
    network = ResidualEncoderUNet(8, stages, features, nn.Conv3d, 3, [1] + [2] * (stages - 1), blocks, 2, [1] * (stages - 1), True, nn.InstanceNorm3d,
                                  {"eps": 1e-5, "affine": True}, None, None, nn.LeakyReLU, {"inplace": True}).eval()
    side = 16 if small else NNINTERACTIVE
    patch = torch.randn(1, 8, side, side, side)
    return lambda: network(patch)


@torch.no_grad()
def run(small: bool = False) -> list[Finding]:
    torch.manual_seed(0)
    model, trained = click_model()
    volume = scan((40, 64, 64) if small else (300, 512, 512), (4., 4., 4.) if small else (1., .8, .8))
    session = RefinementSession(model, device="cpu")
    began = time.perf_counter()
    session.set_volume(volume, labelled(volume))
    ready = time.perf_counter() - began
    seconds = clicks(session, volume.geometry)
    half, most = np.quantile(seconds, [.5, .95])
    window = 16 if small else model.window[0]
    image, prior = torch.randn(1, 1, window, window, window), torch.rand(1, 1, window, window, window)
    rivals = {"residual U-Net": residual_unet(small), **{f"MONAI's, {name}": monai(network, image, prior) for name, network in peers(small).items()}}
    took = fastest(rivals, repeats=1)
    took = {name: each * (1 if name == "residual U-Net" else session.steps) for name, each in took.items()}
    look = _look(session, volume.geometry)
    if not trained:
        print("  no trained click model is bundled: random weights; an answer is the prompt's own push")
    return [Finding("seconds of set_volume", ready),
            Finding("seconds from click to edit, half", float(half), most=None if small else .5),
            Finding("seconds from click to edit, 95 %", float(most), most=None if small else 1.),
            Finding("seconds of the first", seconds[0], most=None if small else 1.),
            Finding(f"seconds of {MOST_LOOKS} looks, the most that a click takes", MOST_LOOKS * look),
            *(Finding(f"times faster than {name}", each / float(half), least=10 if not small and name == "residual U-Net" else None) for name, each in took.items())]


def _look(session: RefinementSession, geometry: Geometry) -> float:
    """Seconds of one, by clicks on the large label, which want one look each; the shortest of three."""
    seconds = math.inf
    for share in (.61, .62, .63):
        began = time.perf_counter()
        session.add_point(geometry.to_ras(np.array(geometry.shape) * share), 1, inside=True)
        seconds = min(seconds, time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    report(run, __doc__)
