"""An organ is one piece, or a few of about a size: specks far from it are mistakes."""
from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

NEVER = -20.0  # a logit below every other


def without_specks(logits: Tensor, smallest: float) -> Tensor:
    """Logits (1 + organs, k, j, i) in which pieces smaller than `smallest` times the organ's largest piece lose, in place.

    Pieces touch by a face, an edge or a corner. Where one loses, the next likely channel wins; `smallest` 0 keeps all.
    """
    if smallest <= 0:
        return logits
    channels = logits.argmax(0).cpu().numpy()
    for organ in range(1, len(logits)):
        pieces, count = ndimage.label(channels == organ, np.ones((3, 3, 3)))
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            specks = sizes < smallest * sizes[1:].max()
            specks[0] = False
            logits[organ][torch.from_numpy(specks[pieces])] = NEVER
    return logits
