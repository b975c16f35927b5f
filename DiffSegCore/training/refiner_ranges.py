"""How far to trust the volumes of refined organs, learnt from whole validation cases."""
from __future__ import annotations

from typing import Any, Callable, Sequence

import numpy as np
import torch

from ..data.cache import GridCase
from ..model import Model
from ..refiner_card import RefinerCard
from ..refining import refine_volume
from ..volume_ranges import CARD, KnownVolume, VolumeRanges
from .calibrating import seen_in

MOST = 40  # cases: enough for a rate of nine in ten


def refined_ranges(model: Model, organs: Sequence[str], cases: Sequence[GridCase], prior_of: Callable[[GridCase], np.ndarray | None],
                   device: torch.device) -> dict[str, Any]:
    """An entry for the refiner's card, {} where no case has a prior that a segmentor gave it; with the steps and samples that the card names."""
    card, count = RefinerCard.of(model.card), 0
    seen: list[KnownVolume] = []
    for case in cases[::-(-len(cases) // MOST)]:
        prior = prior_of(case)
        if prior is not None:
            image = torch.from_numpy(np.array(case.image, np.float32).reshape(-1, *case.channels.shape))
            found = refine_volume(model, image, torch.from_numpy(np.array(prior, np.float32)), steps=card.steps, samples=card.samples, device=device)
            seen += seen_in(case, found.chances, organs)
            count += 1
    return {CARD: VolumeRanges.fitted(seen, count).to_dict()} if count else {}
