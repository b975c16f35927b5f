"""Train an organ network, from scratch or from a pretrained encoder: data set in, model file out."""
from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Callable, Sequence, TYPE_CHECKING

import numpy as np
import torch
from lightning.fabric import Fabric
from monai.inferers import sliding_window_inference
from torch import Tensor, nn

from ..data.cache import GridCase, cached_cases
from ..data.cases import Case, Dataset, kept_in, read_dataset
from ..data.patches import Patch, Patches
from ..errors import BadInput
from ..model import Model, save_model
from ..networks import OrganNetwork, build
from ..organs import ORGANS
from ..progress import Progress, part, silent
from ..volume_ranges import CARD as RANGES
from ..windows import by_planes
from .beginning import begin_with, same_network, taught
from .calibrating import cool, fitted_ranges, fitted_temperature
from .loop import Task, Trained, train
from .losses import organ_loss
from .made import made_cases, recoloured_cases, rephased_cases
from .probe_reading import Source
from .recipes import HeadRecipe

if TYPE_CHECKING:
    from .refiner_recipes import RefinerRecipe


def train_head(recipe: HeadRecipe, data: Path, out: Path, fabric: Fabric, *, leave_out: Sequence[str] = (), label_maps: Sequence[Path] = (),
               mr: Sequence[Path] = (), encoder: Path | None = None, start_from: Path | None = None, resume: bool = False, progress: Progress = silent) -> Path:
    """Train `recipe` on the data set in `data`; writes out/<recipe>.safetensors beside checkpoints and logs, and returns its path.

    leave_out: patterns of the names of cases that stay unseen, for tests; label_maps: what made cases are imagined from, with the
    data set's label values; mr: data sets of labelled MR that the recipe shows as CT; encoder: a model whose encoder training begins with, instead of at random;
    start_from: a model of this recipe whose whole network it begins with.
    """
    start = None if encoder is None else taught(encoder, recipe)
    out.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(data, label_file=recipe.label_file)
    organs = recipe.organs or tuple(dict.fromkeys(dataset.labels.values()))
    before = None if start_from is None else same_network(start_from, recipe, organs, described(recipe, organs))
    learn, check = labelled_split(dataset, data, leave_out, checked=not (recipe.made and recipe.made.check))
    ready = part(progress, 0, .05)
    with fabric.rank_zero_first():  # the others find the cache filled
        cases = cached_cases(learn + check, dataset.labels, organs, recipe.preprocessing, out / "cache", ready,
                             several=recipe.image_channels > 1, whole=recipe.whole)
        made, held = made_cases(recipe, organs, out / "cache", label_maps, dataset.labels, part(progress, .05, .08))
        shown = recoloured_cases(recipe, organs, mr, out / "cache", leave_out, part(progress, .08, .09))
        phases = rephased_cases(recipe, organs, learn, dataset.labels, out / "cache", part(progress, .09, .1))
    check_channels(recipe, cases[0])
    real, checked = cases[:len(learn)], cases[len(learn):] + held
    trained = learn_head(recipe, organs, real + phases, checked, out, fabric, made=made, shown=shown, start=start, before=before, resume=resume,
                         progress=part(progress, .1, 1))
    temperature = calibrate(trained.network, recipe, checked, fabric.device)
    card = {"name": recipe.name, "title": recipe.title, **recipe.card, "organ_ml": usual_ml(made if recipe.made and recipe.made.check else real, organs),
            **_ranges(trained.network, recipe, cases[len(learn):], organs, fabric.device),
            "training": {"steps": recipe.budget.steps, "batch": recipe.budget.batch, "hours": round(trained.seconds / 3600, 2),
                         "device": str(fabric.device), "cases": [len(real), len(checked)], **({"made": [len(made), len(shown)]} if shown else {}), "validation_dice": round(trained.score, 4), "temperature": temperature,
                         **({"left_out": list(leave_out)} if leave_out else {}), **({"encoder": start.about} if start else {}),
                         **({"start": before.sha256} if before else {})}}
    path = out / f"{recipe.name}.safetensors"
    if fabric.is_global_zero:
        save_model(Model(trained.network.cpu(), described(recipe, organs), recipe.preprocessing, organs, recipe.window, card), path)
    return path


def architecture(organs: Sequence[str], widths: Sequence[int]) -> dict[str, Any]:
    """Plain values for `networks.build`."""
    return {"kind": "organs", "organs": len(organs), "encoder": {"widths": list(widths)}}


def described(recipe: HeadRecipe, organs: Sequence[str]) -> dict[str, Any]:
    """The recipe's architecture: of two dimensions where its windows are one plane thick."""
    plain = architecture(organs, recipe.widths)
    if recipe.image_channels > 1:
        plain["encoder"]["in_channels"] = recipe.image_channels
    if recipe.window[0] == 1:
        plain["encoder"]["spatial_dims"] = 2
    return plain


def learn_head(recipe: HeadRecipe, organs: Sequence[str], learn: Sequence[GridCase], check: Sequence[GridCase], out: Path, fabric: Fabric, *,
               made: Sequence[GridCase] = (), shown: Sequence[GridCase] = (), start: Source | None = None,
               before: Model | None = None, resume: bool = False, progress: Progress = silent) -> Trained:
    """Train on the cases `learn`, `made` and `shown` (MR as CT), from the encoder `start` if there is one; keep what scores best on `check`; checkpoints go to `out`."""
    torch.manual_seed(recipe.seed)
    flat = recipe.window[0] == 1
    network = build(described(recipe, organs)).to(memory_format=torch.channels_last if flat else torch.channels_last_3d)
    if start:
        begin_with(network, start)
    if before:
        network.load_state_dict(before.network.state_dict())
    task = Task(_batches(recipe, learn, made, shown, organs), _loss, lambda candidate: validation_dice(candidate, check, recipe.window, fabric.device))
    return train(fabric, network, task, recipe.budget, out, resume=resume, progress=progress)


def calibrate(network: OrganNetwork, recipe: HeadRecipe, check: Sequence[GridCase], device: torch.device) -> float:
    """Make the network's chances mean what they say, by the temperature that suits the cases `check`; labels stay as they are. That temperature."""
    network.eval()
    temperature = fitted_temperature(lambda case: case_logits(network, case, recipe.window, device), check, empty_is_undrawn=recipe.empty_is_undrawn)
    cool(network.head, temperature)
    return temperature


def validation_dice(network: nn.Module, cases: Sequence[GridCase], window: tuple[int, int, int], device: torch.device) -> float:
    """Mean over organs of the mean Dice over the cases that have them, on the model grid."""
    network.eval()
    found = mean_dice(cases, lambda case: case_logits(network, case, window, device).argmax(0).cpu().numpy())
    network.train()
    return found


def mean_dice(cases: Sequence[GridCase], said: Callable[[GridCase], np.ndarray]) -> float:
    """Mean over organs of the mean Dice of what is `said`, channels (k, j, i), over the cases that have them, on the model grid."""
    scores: dict[int, list[float]] = {}
    for case in cases:
        labels = said(case)
        for channel in case.places:
            truth, mask = case.channels == channel, labels == channel
            scores.setdefault(channel, []).append(2 * np.sum(truth & mask) / (truth.sum() + mask.sum()))
    return float(np.mean([np.mean(values) for values in scores.values()]))


@torch.inference_mode()
def case_logits(network: nn.Module, case: GridCase, window: tuple[int, int, int], device: torch.device) -> Tensor:
    """Logits (1 + organs, k, j, i) of a network in evaluation mode on a whole case."""
    image = torch.from_numpy(np.array(case.image, np.float32).reshape(1, -1, *case.channels.shape)).to(device)
    return sliding_window_inference(image, window, 2, by_planes(network, window), overlap=.25, mode="gaussian", padding_mode="constant", cval=-1.)[0]


def _loss(network: nn.Module, batch: Patch) -> Tensor:
    image = batch.image.contiguous(memory_format=torch.channels_last_3d)
    return organ_loss(by_planes(network, image.shape[2:])(image), batch.target, batch.known)


def check_channels(recipe: HeadRecipe | RefinerRecipe, case: GridCase) -> None:
    """BadInput where the case's image has another number of channels than the recipe reads."""
    channels = 1 if case.image.ndim == 3 else len(case.image)
    if channels != recipe.image_channels:
        raise BadInput(f"the recipe {recipe.name!r} reads images of {recipe.image_channels} channel(s), {case.name} has {channels}; "
                       "say --channels, or choose another recipe")


def labelled_split(dataset: Dataset, data: Path, leave_out: Sequence[str] = (), *, checked: bool = True) -> tuple[list[Case], list[Case]]:
    """Labelled training and validation cases, less those whose name matches a pattern of `leave_out`; every tenth training case validates
    where the data set has no such split, none if they need not be `checked`.
    """
    learn, check = (kept_in(dataset.cases.get(split, ()), leave_out) for split in ("train", "validation"))
    if checked and not check:
        learn, check = [c for n, c in enumerate(learn) if n % 10], learn[::10]
    if not learn or checked and not check:
        raise BadInput(f"{data} has {len(learn)} labelled cases to train on and {len(check)} to validate with; both are needed")
    return learn, check


def _batches(recipe: HeadRecipe, cases: Sequence[GridCase], made: Sequence[GridCase], shown: Sequence[GridCase], organs: Sequence[str]):
    """batch_of(first, count): patches of real cases, and of made ones and of MR shown as CT every so often."""
    def patches(source: Sequence[GridCase], seed: int, empty_is_undrawn: bool) -> Patches:
        return Patches(source, len(organs), recipe.window, paired=mirror_pairs(organs), augmentation=recipe.augmentation,
                       empty_is_undrawn=empty_is_undrawn, seed=seed)

    real = patches(cases, recipe.seed, recipe.empty_is_undrawn)
    extra = patches(made, recipe.seed + 1, recipe.made.empty_is_undrawn) if made else real
    other = patches(shown, recipe.seed + 2, True) if shown else extra

    def source(number: int) -> Patches:
        turn = number % recipe.made.among if made else 0
        return real if not made or turn >= recipe.made.patches else other if turn < recipe.made.recoloured else extra

    def batch_of(first: int, count: int) -> Patch:
        numbers = range(first, first + count)
        return Patch(*(torch.stack(parts) for parts in zip(*(source(n).patch(n) for n in numbers))))

    return batch_of


def _ranges(network: nn.Module, recipe: HeadRecipe, check: Sequence[GridCase], organs: Sequence[str], device: torch.device) -> dict[str, Any]:
    """How far to trust volumes, for the card: by real cases, as made ones are easier. {} without any."""
    return {RANGES: fitted_ranges(lambda case: case_logits(network, case, recipe.window, device), check, organs).to_dict()} if check else {}


def usual_ml(cases: Sequence[GridCase], organs: Sequence[str]) -> dict[str, list[float]]:
    """Organ -> the range of its volume, ml, in nine of ten training cases that show all of it: what a result is held against later. Of organs that every
    scan cuts at its upper or lower end, in those that show it."""
    volumes: dict[str, list[tuple[float, bool]]] = {}
    for case in cases:
        counts, ends = np.bincount(case.channels.ravel(), minlength=len(organs) + 1), {*np.unique(case.channels[0]), *np.unique(case.channels[-1])}
        for channel in case.places:
            volumes.setdefault(organs[channel - 1], []).append((counts[channel] * math.prod(case.geometry.spacing) / 1000, channel not in ends))
    return {organ: np.percentile([ml for ml, complete in seen if complete] or [ml for ml, _ in seen], (5, 95)).round(2).tolist() for organ, seen in volumes.items()}


def mirror_pairs(organs: Sequence[str]) -> list[tuple[int, int]]:
    """Channels of organs that become each other in a mirror: (right, left)."""
    right = {name: c for c, name in enumerate(organs, 1) if name in ORGANS and ORGANS[name].laterality == "right"}
    partner = {name: name.replace("right", "left") for name in right}
    return [(c, list(organs).index(partner[name]) + 1) for name, c in right.items() if partner[name] in organs]
