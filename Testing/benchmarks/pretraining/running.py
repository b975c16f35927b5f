"""Runs what a plan still lacks, one piece after the other; whatever is there already is left alone."""
from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterator

from lightning.fabric import Fabric

from DiffSegCore.errors import BadInput
from DiffSegCore.progress import Progress, silent
from DiffSegCore.training.pretexts.train import alike, train_pretext
from DiffSegCore.training.pretrain import pretrain
from DiffSegCore.training.pretrain_data import Source
from DiffSegCore.training.probe import run_probe
from DiffSegCore.training.probe_bodies import BodyMaps
from DiffSegCore.training.probe_recipes import pretext_recipe, probe_recipe
from DiffSegCore.training.probe_records import Wish

from .plan import CONTROLS, GUIDANCE, GUIDED, PRETRAINED, Plan


@dataclass(frozen=True)
class Place:
    """data: the folder that the plan's data sets lie in; out: everything that is made; coordinates: a model of `diffseg train body`."""

    data: Path
    out: Path
    coordinates: Path | None

    def encoder(self, name: str) -> str:
        """The model file of a pretrained encoder; "random" and "scratch" as they are."""
        return str(self.out / "encoders" / name / f"{name}.safetensors") if name in PRETRAINED else name

    def features(self, encoder: str) -> Path:
        """Where a frozen encoder's features are kept while it is probed: apart, so that several processes may probe several encoders."""
        return self.out / "features" / CONTROLS.get(encoder, (encoder,))[0]

    def wish(self, encoder: str, protocol: str, labels: float, seed: int) -> Wish:
        """The probe of an encoder, or of a control: an encoder that is read with another use of coordinates."""
        name, body = CONTROLS.get(encoder, (encoder, "told"))
        return Wish(self.encoder(name), protocol, labels, seed, body)


@dataclass(frozen=True)
class Piece:
    """Something to be done for an encoder, and the file that says it is. A probe that is done is not done again, but held against the plan."""

    name: str
    encoder: str
    file: Path
    do: Callable[[], object]


def pieces(plan: Plan, place: Place, fabric: Fabric, progress: Progress) -> Iterator[Piece]:
    """Pretrainings, then frozen probes, then fine-tuning."""
    for name in plan.pretrained:
        yield Piece(f"pretrain {name}", name, Path(place.encoder(name)), partial(_pretrained, plan, place, name, fabric, progress))
    recipe = probe_recipe(plan.probe)
    bodies = BodyMaps.of(place.coordinates, place.out / "cache", recipe.preprocessing) if place.coordinates else None
    for encoder, *how in (*plan.probes(True), *plan.probes(False)):
        wish = place.wish(encoder, *how)
        probe = partial(run_probe, recipe, wish, place.data / plan.labelled, place.out, fabric, bodies=bodies,
                        features=place.features(encoder), progress=progress)
        yield Piece(f"probe {wish.name}", encoder, place.out / "records" / f"{wish.name}.json", probe)


def run(plan: Plan, place: Place, fabric: Fabric, progress: Progress, minutes: float, say: Callable[[str], None]) -> bool:
    """Do what is missing, and begin nothing new after so many minutes; whether all is done."""
    _check(plan, place)
    began, before = time.monotonic(), ""
    for piece in pieces(plan, place, fabric, progress):
        there, started = piece.file.is_file(), time.monotonic()
        if not there and started - began > 60 * minutes:
            say(f"stopped before {piece.name}: {minutes:g} minutes are over; the same command goes on from here")
            return False
        if not there and before not in ("", piece.encoder):
            _forget_features(place.features(before))
        piece.do()
        if not there:
            before = piece.encoder
            say(f"{piece.name}: {time.monotonic() - started:.0f} s")
    if before:
        _forget_features(place.features(before))
    return True


def _check(plan: Plan, place: Place) -> None:
    """Say now what would otherwise be said after hours."""
    for folder in (plan.labelled, *plan.unlabelled):
        if not (place.data / folder).exists():
            raise BadInput(f"there is no {place.data / folder}; give the folder of the data sets with --data")
    guided = [name for name in GUIDED if name in plan.pretrained]
    if guided and place.coordinates is None:
        raise BadInput(f"{', '.join(guided)} need body coordinates: give --coordinates a model of `diffseg train body`")


def missing(plan: Plan, place: Place, fabric: Fabric) -> list[str]:
    """Names of what `run` would do."""
    return [piece.name for piece in pieces(plan, place, fabric, silent) if not piece.file.is_file()]


def _pretrained(plan: Plan, place: Place, name: str, fabric: Fabric, progress: Progress) -> Path:
    recipe, out = pretext_recipe(plan.pretext), place.out / "encoders" / name
    if Path(place.encoder(name)).is_file():
        return Path(place.encoder(name))
    source = Source([place.data / folder for folder in plan.unlabelled], place.coordinates, plan.leave_out, skip_corrupt=True)
    options = {"cache": place.out / "cache", "resume": (out / "last.ckpt").is_file(), "progress": progress}
    if name in GUIDANCE:
        return pretrain(alike(recipe, GUIDANCE[name]), source, out, fabric, **options)
    return train_pretext(name, recipe, source, out, fabric, **options)


def _forget_features(folder: Path) -> None:
    """Free the disk: a frozen encoder's features can be computed again. The choice of its noise level stays."""
    for features in [path for path in folder.glob("*") if path.is_dir()]:
        shutil.rmtree(features, ignore_errors=True)
