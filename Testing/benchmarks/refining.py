"""Refining a 64^3 region in four steps: context once against the whole network four times, and against MONAI's DiffusionModelUNet.

MONAI's network, which reads image, prior and noisy mask as channels, would run at each of the four steps: one is timed and counted
four times; with its default widths, attention and blocks, and without attention at about our number of parameters. All are fp32; ours reads channels-last
memory, MONAI's its default. Random weights: time does not depend on them.

The binarised variant has the same blocks with signs for weights and activations. Its bytes are of packed bits and half-precision
rest; the real one's are half precision. PyTorch multiplies signs as it multiplies floats, so on a CPU nothing is gained in time.
"""
from __future__ import annotations

from typing import Callable

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from DiffSegCore.networks import Refiner
from DiffSegCore.networks.binary import packed

from .measure import Finding, fastest, report

STEPS = 4
KEEP = (0., .05, .2, .6)
MATCHED = {"channels": (16, 16, 32, 48), "attention_levels": (False,) * 4, "num_res_blocks": 1, "norm_num_groups": 8}


def refining(network: Refiner, image: Tensor, prior: Tensor, *, cached: bool) -> Callable[[], Tensor]:
    """Four steps as sampling takes them, less the sampling itself."""
    noisy, levels = (prior > .5).to(prior), [torch.tensor([keep]) for keep in KEEP]

    def run() -> Tensor:
        if cached:
            context = network.context(image, prior)
            return [network.step(context, noisy, keep) for keep in levels][-1]
        return [network(image, prior, noisy, keep) for keep in levels][-1]

    return run


def monai(network: nn.Module, image: Tensor, prior: Tensor) -> Callable[[], Tensor]:
    """One step."""
    given, time = torch.cat([image, prior, prior.round()], dim=1), torch.tensor([500])
    return lambda: network(given, timesteps=time)


def peers(small: bool) -> dict[str, nn.Module]:
    """MONAI's networks; its default one only at full size, for its attention alone takes seconds."""
    sizes = {"matched": MATCHED} if small else {"default": {}, "matched": MATCHED}
    return {name: DiffusionModelUNet(spatial_dims=3, in_channels=3, out_channels=1, **options).eval() for name, options in sizes.items()}


def stored_bytes(network: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in packed(network).values())


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def run(small: bool = False) -> list[Finding]:
    torch.manual_seed(0)
    side = 16 if small else 64
    image, prior = torch.randn(1, 1, side, side, side), torch.rand(1, 1, side, side, side)
    real, binary = (Refiner(binary=signs).eval().to(memory_format=torch.channels_last_3d) for signs in (False, True))
    rivals, context = peers(small), real.context(image, prior)
    ways = {"cached": refining(real, image, prior, cached=True), "whole": refining(real, image, prior, cached=False),
            "step": lambda: real.step(context, prior.round(), torch.tensor([.2])), "binary": refining(binary, image, prior, cached=True)}
    seconds = fastest(ways, repeats=8)
    one = fastest({name: monai(network, image, prior) for name, network in rivals.items()}, repeats=2)
    seconds |= {name: STEPS * each for name, each in one.items()}
    return [Finding("parameters, millions", count(real) / 1e6),
            Finding(f"seconds for {STEPS} steps", seconds["cached"]),
            Finding("share of the whole network's time that a step takes", seconds["step"] * STEPS / seconds["whole"], most=None if small else .25),
            Finding("times faster than the same network run whole", seconds["whole"] / seconds["cached"], least=None if small else 1.8),
            *(Finding(f"times faster than MONAI's, {name} ({count(network) / 1e6:.1f} M)", seconds[name] / seconds["cached"],
                      least=20 if name == "default" else None) for name, network in rivals.items()),
            Finding("binarised: parameters, share of the real one's", count(binary) / count(real)),
            Finding("binarised: bytes stored", stored_bytes(binary)),
            Finding("binarised: bytes, share of the real one's", stored_bytes(binary) / stored_bytes(real)),
            Finding("binarised: time, share of the real one's", seconds["binary"] / seconds["cached"])]


if __name__ == "__main__":
    report(run, __doc__)
