"""Stitching windows against MONAI and nnU-Net: 8 logits of a pointwise network, 200 x 128 x 128, windows of 48, half overlapping.

The network's own time is measured alone and taken off all sides. MONAI's is sliding_window_inference with the
same Gaussian weights and the same windows; nnU-Net's is nnUNetPredictor's prediction of logits (half precision). The
network's channels come last in memory, as our organ head's do; "at its best" the rival gets the layout that suits it.
"""
from __future__ import annotations

from types import SimpleNamespace
from typing import Callable

import torch
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from DiffSegCore.geometry import Box
from DiffSegCore.windows import cut, plan_windows, stitch

from .measure import Finding, fastest, report

WINDOW, AIR = (48, 48, 48), -1.0


class Pointwise(nn.Module):
    """`channels` logits that are multiples of the image, laid out first or last in memory."""

    def __init__(self, channels: int, *, last: bool) -> None:
        super().__init__()
        self.register_buffer("scale", torch.linspace(-2, 2, channels))
        self.last = last

    def forward(self, image: Tensor) -> Tensor:
        if self.last:
            return (image.movedim(1, -1) * self.scale).movedim(-1, 1)
        return image * self.scale[:, None, None, None]


def ours(network: nn.Module, image: Tensor) -> Tensor:
    logits = torch.empty(*image.shape[1:], len(network.scale)).movedim(-1, 0)
    for box, planes in stitch(network, image, plan_windows(Box.whole(image.shape[1:]), WINDOW, image.shape[1:]), outside=AIR):
        logits[(slice(None), *box.slices)] = planes
    return logits


def monai(network: nn.Module, image: Tensor) -> Tensor:
    return sliding_window_inference(image[None], WINDOW, 1, network, 0.5, "gaussian", 0.125, "constant", AIR)[0]


def network_alone(network: nn.Module, image: Tensor) -> None:
    for window in plan_windows(Box.whole(image.shape[1:]), WINDOW, image.shape[1:]):
        network(cut(image, window, AIR)[None])


def nnunet() -> Callable[[nn.Module, Tensor], Tensor] | None:
    """nnU-Net's predictor, or None where it is not installed (pip install --no-deps nnunetv2 and what its inference imports)."""
    try:
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    except ImportError:
        return None
    predictor = nnUNetPredictor(0.5, True, False, False, torch.device("cpu"), allow_tqdm=False)
    predictor.configuration_manager = SimpleNamespace(patch_size=WINDOW)

    def predict(network: nn.Module, image: Tensor) -> Tensor:
        predictor.network, predictor.label_manager = network, SimpleNamespace(num_segmentation_heads=len(network.scale))
        return predictor.predict_sliding_window_return_logits(image)

    return predict


@torch.no_grad()
def run(small: bool = False) -> list[Finding]:
    image = torch.randn(1, *((72, 72, 72) if small else (200, 128, 128)), generator=torch.Generator().manual_seed(0))
    first, last, rival = Pointwise(8, last=False), Pointwise(8, last=True), nnunet()
    ways = {"alone, first": (network_alone, first), "alone, last": (network_alone, last), "ours, last": (ours, last),
            "monai, first": (monai, first), "monai, last": (monai, last)}
    if rival:
        ways |= {"nnunet, first": (rival, first), "nnunet, last": (rival, last)}
    seconds = fastest({name: lambda way=way, network=network: way(network, image) for name, (way, network) in ways.items()}, repeats=8)
    stitching = {name: time - seconds["alone, " + name.split(", ")[1]] for name, time in seconds.items()}
    differing = (ours(last, image).argmax(0) != monai(last, image).argmax(0)).sum()
    findings = [*_shares(stitching, "monai", "MONAI", 0.6), Finding("labels that differ from MONAI's", int(differing), most=0)]
    if rival is None:
        print("  nnU-Net is not installed, so it was not measured")
        return findings
    return [*findings, *_shares(stitching, "nnunet", "nnU-Net", 0.35)]


def _shares(stitching: dict[str, float], key: str, name: str, most: float) -> list[Finding]:
    ours, same, other = (stitching[way] for way in ("ours, last", f"{key}, last", f"{key}, first"))
    return [Finding(f"time, share of {name}'s with the same network", ours / same, most=most),
            Finding(f"time, share of {name}'s at its best", ours / min(same, other))]


if __name__ == "__main__":
    report(run, __doc__)
