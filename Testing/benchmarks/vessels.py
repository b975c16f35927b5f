"""Generated retinas with vessel trees: thin structures, RGB, uneven light, known truth. Makes the data, and scores masks.

    python Testing/benchmarks/vessels.py make vessels --train 40 --priors 40 --validation 8 --test 20
    diffseg train head --recipe pictures --data vessels/segmentor -o runs/vessels/head
    python Testing/benchmarks/vessels.py predict vessels/refiner --model runs/vessels/head/pictures.safetensors -o runs/vessels/priors
    diffseg train refiner --recipe vessels-2d --data vessels/refiner --priors runs/vessels/priors -o runs/vessels/refiner
    python Testing/benchmarks/vessels.py score vessels/refiner/test --head runs/vessels/head/pictures.safetensors \\
        --refiner runs/vessels/refiner/vessels-2d.safetensors [--control FILE] [--binary FILE] [-o vessels.json]
    python Testing/benchmarks/vessels.py table vessels.json

The segmentor learns from other pictures than the refiner, so that the refiner's priors are wrong as they will be later.
clDice (Shit et al., arXiv 2003.07311): harmonic mean of the shares of each mask's centre lines that lie in the other mask.
Thin-vessel recall: share of the true vessels of at most THIN pixels across that is found.
"""
from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np
from scipy import ndimage

from Testing.benchmarks.records import write

SIZE = 160
THIN = 2.5  # pixels across
TRUNKS = (3, 6)
REFINERS = ("refiner", "control", "binary")
FADING = .55  # of a vessel's contrast that its thinnest branches keep


@dataclass(frozen=True)
class Retina:
    """picture uint8 (J, I, 3); mask bool (J, I); width float32 (J, I), pixels across of the vessel at each of its pixels."""

    picture: np.ndarray
    mask: np.ndarray
    width: np.ndarray


def retina(seed: int, size: int = SIZE) -> Retina:
    """Number `seed`: branching vessels from a disc, on a reddish ground that is lit unevenly, blurred and noisy."""
    random = np.random.default_rng((seed, 7))
    width = np.zeros((size, size), np.float32)
    disc = random.uniform(.3, .7, 2) * size
    for angle in random.uniform(0, 2 * np.pi, random.integers(*TRUNKS)):
        _grow(width, disc, angle, random.uniform(4., 6.), random)
    mask = width > 0
    return Retina(_photographed(mask, width, disc, random), mask, width)


def _grow(width: np.ndarray, at: np.ndarray, angle: float, across: float, random: np.random.Generator) -> None:
    """A wandering branch that thins, and ends in two thinner ones."""
    size, bend = width.shape[0], 0.
    for _ in range(int(random.uniform(24, 66))):
        bend = .8 * bend + random.normal(0, .05)
        angle += bend
        at = at + .9 * np.array([np.sin(angle), np.cos(angle)])
        if not (0 <= at).all() or not (at < size).all():
            return
        _stamp(width, at, across)
        across *= .997
    if across > 1.2:
        for side in (-1, 1):
            _grow(width, at, angle + side * random.uniform(.25, .8), across * random.uniform(.6, .85), random)


def _stamp(width: np.ndarray, at: np.ndarray, across: float) -> None:
    """A disc of that width; where vessels cross, the wider counts."""
    radius = max(across / 2, .75)
    low = np.maximum(np.floor(at - radius).astype(int), 0)
    part = width[low[0]:int(at[0] + radius) + 2, low[1]:int(at[1] + radius) + 2]
    j, i = np.ogrid[low[0]:low[0] + part.shape[0], low[1]:low[1] + part.shape[1]]
    inside = (j - at[0]) ** 2 + (i - at[1]) ** 2 <= radius ** 2
    part[inside] = np.maximum(part[inside], across)


def _photographed(mask: np.ndarray, width: np.ndarray, disc: np.ndarray, random: np.random.Generator) -> np.ndarray:
    size = mask.shape[0]
    j, i = np.mgrid[:size, :size] / size
    slope, bowl = random.normal(0, .25, 2), random.uniform(.1, .5)
    light = 1 + slope[0] * (j - .5) + slope[1] * (i - .5) - bowl * ((j - .5) ** 2 + (i - .5) ** 2)
    ground = np.array([.75, .42, .22]) * random.uniform(.85, 1.15, 3) + .05 * _clouds(size, 12, random)[..., None]
    fade = FADING + (1 - FADING) * np.clip(width / 5, 0, 1)
    dark = ndimage.gaussian_filter(mask * fade, .7)[..., None] * np.array([.16, .2, .08]) * random.uniform(.7, 1.1)
    bright = np.exp(-((j - disc[0] / size) ** 2 + (i - disc[1] / size) ** 2) / .004)[..., None] * np.array([.2, .25, .15])
    blots = np.clip(_clouds(size, 4, random) - 1.6, 0, 1)[..., None] * .25  # dark spots that are no vessels
    picture = (ground - dark + bright - blots) * light[..., None] + random.normal(0, .035, (size, size, 3))
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _clouds(size: int, wide: float, random: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.standard_normal((size, size)), wide, mode="wrap")
    return noise / noise.std()


def make(root: Path, counts: dict[str, int]) -> None:
    """root/segmentor/{train,validation} and root/refiner/{train,validation,test}, each with images/ and masks/; no seed twice."""
    from DiffSegCore.data.images2d import write_picture

    parts = {"segmentor/train": counts["train"], "segmentor/validation": counts["validation"], "refiner/train": counts["priors"],
             "refiner/validation": counts["validation"], "refiner/test": counts["test"]}
    seed = 0
    for part, count in parts.items():
        for folder in ("images", "masks"):
            (root / part / folder).mkdir(parents=True, exist_ok=True)
        for seed in range(seed, seed + count):
            made = retina(seed)
            write_picture(made.picture, root / part / "images" / f"retina_{seed:04d}.png")
            write_picture(made.mask.astype(np.uint8) * 255, root / part / "masks" / f"retina_{seed:04d}.png")
        seed += 1


def scores(found: np.ndarray, retina: Retina) -> dict[str, float]:
    """Dice, clDice and thin-vessel recall of a mask."""
    from skimage.morphology import skeletonize

    true, thin = retina.mask, retina.mask & (retina.width <= THIN)
    lines, true_lines = skeletonize(found), skeletonize(true)
    precise, complete = (float((a & b).sum()) / max(1, int(a.sum())) for a, b in ((lines, true), (true_lines, found)))
    return {"Dice": 2 * float((found & true).sum()) / max(1, int(found.sum() + true.sum())),
            "clDice": 2 * precise * complete / max(1e-9, precise + complete), "thin recall": float(found[thin].mean()) if thin.any() else 1.}


def chances_of(model: str, pictures: list[Path]) -> Iterator[np.ndarray]:
    """The segmentor's chances (1 + objects, 1, J, I) of each picture."""
    from DiffSegCore.data.images2d import read_picture
    from DiffSegCore.registry import load_model
    from DiffSegCore.segmenter import Segmenter

    head = Segmenter(load_model(model), "cpu", refine=False)
    for path in pictures:
        yield head.segment(read_picture(path)).logits.float().softmax(0).numpy()


def predict(data: Path, model: str, out: Path) -> None:
    """Priors for training: chances of every training and validation picture, as .npz."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = sorted(path for split in ("train", "validation") for path in (data / split / "images").iterdir())
    for path, chances in zip(pictures, chances_of(model, pictures)):
        np.savez_compressed(out / f"{path.stem}.npz", probabilities=chances.astype(np.float32))


def score(test: Path, head: str, refiners: dict[str, str], steps: int, samples: int) -> dict:
    """A record: scores of each picture by the segmentor, and by each refiner on its chances."""
    import torch

    from DiffSegCore.data.images2d import read_picture
    from DiffSegCore.preprocess import to_model_grid
    from DiffSegCore.refining import refine_volume
    from DiffSegCore.registry import load_model

    pictures, models = sorted((test / "images").iterdir()), {name: load_model(file) for name, file in refiners.items()}
    found: dict[str, list[dict[str, float]]] = {"segmentor": [], **{name: [] for name in models}}
    for path, chances in zip(pictures, chances_of(head, pictures)):
        truth, prior = retina(int(path.stem.split("_")[1])), torch.from_numpy(chances)[1:]
        found["segmentor"].append(scores(chances[1, 0] > .5, truth))
        for name, model in models.items():
            image, _ = to_model_grid(read_picture(path), model.preprocessing)
            refined = refine_volume(model, image, prior, steps=steps, samples=samples)
            found[name].append(scores(refined.labels[0].numpy() > 0, truth))
    return {"pictures": [path.stem for path in pictures], "steps": steps, "samples": samples, "scores": found}


def table(record: dict) -> str:
    """Means over pictures, with Wilcoxon's signed-rank p against the segmentor."""
    from scipy.stats import wilcoxon

    from DiffSegCore.evaluation import aligned

    found = record["scores"]
    rows = [("", *(f"{what} (p)" for what in found["segmentor"][0]))]
    for name, each in found.items():
        cells = []
        for what in each[0]:
            values, own = ([s[what] for s in found[n]] for n in (name, "segmentor"))
            p = "" if name == "segmentor" or values == own else f" ({wilcoxon(values, own).pvalue:.1g})"
            cells.append(f"{np.mean(values):.3f}{p}")
        rows.append((name, *cells))
    return f"{len(record['pictures'])} pictures, {record['steps']} steps, {record['samples']} samples\n{aligned(rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making, predicting, scoring, showing = (commands.add_parser(name) for name in ("make", "predict", "score", "table"))
    making.add_argument("out", type=Path)
    for name, count in (("train", 40), ("priors", 40), ("validation", 8), ("test", 20)):
        making.add_argument(f"--{name}", type=int, default=count, metavar="N")
    predicting.add_argument("data", type=Path)
    predicting.add_argument("--model", required=True)
    predicting.add_argument("-o", "--out", type=Path, required=True)
    scoring.add_argument("test", type=Path)
    scoring.add_argument("--head", required=True)
    for name in REFINERS:
        scoring.add_argument(f"--{name}", required=name == "refiner", metavar="FILE")
    scoring.add_argument("--steps", type=int, default=4)
    scoring.add_argument("--samples", type=int, default=8)
    scoring.add_argument("-o", "--out", type=Path, metavar="FILE.json", help="keep the record")
    showing.add_argument("record", type=Path, metavar="FILE.json")
    args = parser.parse_args()
    if args.command == "make":
        make(args.out, {name: getattr(args, name) for name in ("train", "priors", "validation", "test")})
    elif args.command == "predict":
        predict(args.data, args.model, args.out)
    elif args.command == "score":
        record = score(args.test, args.head, {name: file for name in REFINERS if (file := getattr(args, name))}, args.steps, args.samples)
        if args.out:
            write(args.out, record)
        print(table(record))
    else:
        print(table(json.loads(args.record.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
