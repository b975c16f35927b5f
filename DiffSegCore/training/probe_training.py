"""Training a probe: on cached features, on features computed in every step, or together with the encoder."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..networks import OrganHead
from ..networks.probes import LinearProbe, NonLinearProbe
from ..progress import Progress, part
from .loop import Budget, Task, Trained, train
from .losses import organ_loss
from .probe_features import Scene, Windows, averaged, feature_cases
from .probe_patches import SeenPatch, SeenPatches
from .probe_pieces import Piece, Pieces, winners
from .probe_reading import Reader, Reading, Source
from .probe_recipes import ProbeRecipe
from .probe_scores import score_case

# Fine-tuning takes the product's linear head: its norm follows features that change, where a fixed scale lets them run away (loss 14).
HEADS = {"linear": LinearProbe, "nonlinear": NonLinearProbe, "finetune": OrganHead}
MEASURED = 8  # batches whose features say how they are standardised


@dataclass(frozen=True)
class Job:
    """What one run trains on, and where. scenes: training cases of this run; watched: those scored while it trains."""

    recipe: ProbeRecipe
    source: Source
    reading: Reading
    protocol: str
    seed: int
    scenes: Sequence[Scene]
    watched: Sequence[Scene]
    pairs: Sequence[tuple[int, int]]
    fabric: Fabric
    folder: Path
    features: Path

    @property
    def windows(self) -> Windows:
        return Windows(self.recipe.window, self.source.stride, self.recipe.overlap)

    @property
    def placing(self) -> dict[str, Any]:
        """Where patches lie, for `Patches`."""
        return {"on_organ": self.recipe.on_organ, "empty_is_undrawn": self.recipe.empty_is_undrawn, "seed": self.seed}

    def mean_dice(self, found: Callable[[Scene], np.ndarray]) -> float:
        """Mean over organs and cases of what is watched."""
        scores = [score_case(scene.case, found(scene), self.recipe.organs, self.pairs, self.recipe.empty_is_undrawn) for scene in self.watched]
        return float(np.mean([value for score in scores for value in score.dice.values()]))


@dataclass(frozen=True)
class Outcome:
    """found: scene -> channels uint8 (K, J, I); seconds and steps of training."""

    found: Callable[[Scene], np.ndarray]
    seconds: float
    steps: int


class Probed(nn.Module):
    """A reader and a probe: image and coordinates -> logits. While `frozen`, no gradient reaches the reader."""

    def __init__(self, reader: Reader, probe: nn.Module) -> None:
        super().__init__()
        self.reader, self.probe, self.frozen = reader, probe, False

    def freeze(self, frozen: bool) -> Probed:
        self.frozen = frozen
        self.reader.requires_grad_(not frozen)
        return self

    def forward(self, image: Tensor, body: Tensor | None = None) -> Tensor:
        learning = torch.is_grad_enabled()
        with torch.set_grad_enabled(learning and not self.frozen):
            pyramid = self.reader(image, body)
        if learning and self.frozen:  # torch 2.13's group_norm crashes going back where its input in channels_last wants no gradient
            pyramid = [level.requires_grad_() for level in pyramid]
        return self.probe(pyramid)


def train_probe(job: Job, progress: Progress) -> Outcome:
    """Train as the job's protocol says; an interrupted call goes on from its last checkpoint."""
    if job.protocol == "finetune":
        return _tuned(job, progress)
    return _on_cached(job, progress) if job.recipe.cached else _live(job, [("probe", job.recipe.frozen, True)], progress)


def _on_cached(job: Job, progress: Progress) -> Outcome:
    device = job.fabric.device
    scenes = [*job.scenes, *job.watched]
    with job.fabric.rank_zero_first():
        cases = feature_cases(job.source, job.reading, scenes, job.features, job.windows, device, part(progress, 0, .5))
    pieces = Pieces(cases[:len(job.scenes)], len(job.recipe.organs), job.recipe.piece, **job.placing)
    probe = _probe(job)
    probe.standardise.measure((batch.pyramid for batch in _some(pieces.batch, job.recipe.frozen)), job.recipe.unread)

    def found(network: nn.Module, scene: Scene) -> np.ndarray:
        case, = feature_cases(job.source, job.reading, [scene], job.features, job.windows, device)
        return winners(network, case, device)

    task = Task(pieces.batch, _piece_loss, lambda network: job.mean_dice(lambda scene: found(network, scene)))
    trained = _train(job, "probe", probe, task, job.recipe.frozen, part(progress, .5, 1))
    return Outcome(lambda scene: found(trained.network, scene), trained.seconds, job.recipe.frozen.steps)


def _tuned(job: Job, progress: Progress) -> Outcome:
    """The head first, then both; from scratch both from the start, in as many steps."""
    head, both = job.recipe.head_first, job.recipe.released
    if job.source.scratch:
        return _live(job, [("all", replace(both, steps=head.steps + both.steps, validate_every=head.steps + both.validate_every), False)], progress)
    return _live(job, [("head", head, True), ("all", both, False)], progress)


def _live(job: Job, stages: Sequence[tuple[str, Budget, bool]], progress: Progress) -> Outcome:
    """Stages of training, (name, budget, whether the encoder is frozen), with the encoder in every step."""
    device = job.fabric.device
    patches = SeenPatches(job.scenes, len(job.recipe.organs), job.recipe.window, job.reading, **job.placing)
    network = Probed(job.source.reader(job.reading), _probe(job)).to(device, memory_format=torch.channels_last_3d)
    if job.protocol != "finetune":
        with torch.no_grad():
            batches = _some(patches.batch, stages[0][1])
            network.probe.standardise.measure((network.reader(batch.image.to(device), batch.body.to(device)) for batch in batches), job.recipe.unread)

    def found(candidate: nn.Module, scene: Scene) -> np.ndarray:
        logits, = averaged(lambda image, body: [candidate(image, body)], job.reading.image(scene.case), scene.body, job.windows, device)
        k, j, i = scene.case.channels.shape
        return logits.argmax(-1).to(torch.uint8)[:k, :j, :i].numpy()

    seconds, steps = 0., 0
    for number, (name, budget, frozen) in enumerate(stages):
        task = Task(_after(patches.batch, steps * budget.batch), _patch_loss, lambda candidate: job.mean_dice(lambda scene: found(candidate, scene)))
        stage = part(progress, number / len(stages), (number + 1) / len(stages))
        trained = _train(job, name, network.freeze(frozen), task, budget, stage)
        network, seconds, steps = trained.network, seconds + trained.seconds, steps + budget.steps
    return Outcome(lambda scene: found(network, scene), seconds, steps)


def _train(job: Job, name: str, network: nn.Module, task: Task, budget: Budget, progress: Progress) -> Trained:
    folder = job.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    trained = train(job.fabric, network, task, budget, folder, resume=(folder / "last.ckpt").is_file(), progress=progress)
    trained.network.eval()
    return trained


def _probe(job: Job) -> nn.Module:
    torch.manual_seed(job.seed)
    return HEADS[job.protocol](job.source.widths, len(job.recipe.organs))


def _some(batch_of: Callable[[int, int], Piece | SeenPatch], budget: Budget) -> Iterator[Piece | SeenPatch]:
    return (batch_of(n * budget.batch, budget.batch) for n in range(min(MEASURED, budget.steps)))


def _after(batch_of: Callable[[int, int], SeenPatch], numbers: int) -> Callable[[int, int], SeenPatch]:
    """The same patches, those already seen left out."""
    return lambda first, count: batch_of(numbers + first, count)


def _piece_loss(probe: nn.Module, piece: Piece) -> Tensor:
    return organ_loss(probe(piece.pyramid), piece.target, piece.known)


def _patch_loss(network: nn.Module, patch: SeenPatch) -> Tensor:
    image = patch.image.contiguous(memory_format=torch.channels_last_3d)
    return organ_loss(network(image, patch.body), patch.target, patch.known)
