"""Generated brains with tumours in four channels, as T1, T1 with contrast agent, T2 and FLAIR show them; known truth, nnU-Net layout.

    python Testing/benchmarks/brains.py make brains --train 24 --test 8
    diffseg train head --recipe quick --channels 4 --steps 400 --data brains -o runs/brains/head
    diffseg train refiner --recipe quick --channels 4 --steps 400 --data brains --model runs/brains/head/quick.safetensors --in-sample -o runs/brains/refiner
    python Testing/benchmarks/brains.py as-files brains      # the same cases, four channels in one file each: brains/whole/NAME.nii.gz
    python Testing/benchmarks/brains.py score brains --model runs/brains/refiner/quick.safetensors -o brains.json

No channel alone tells core and oedema apart from everything else: FLAIR shows both and T2 shows them like the ventricles; contrast
agent lights up the core and vessels. Values are like HU, -1000 outside the head, so that CT recipes read them.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import nibabel as nib
import numpy as np
from scipy import ndimage

from DiffSegCore.data.sources import read_image
from DiffSegCore.evaluation import aligned
from DiffSegCore.geometry import Geometry
from DiffSegCore.metrics import compare
from DiffSegCore.preprocess import native_labels, to_model_grid
from DiffSegCore.refining import refine_volume
from DiffSegCore.registry import load_model
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume
from Testing.benchmarks.records import write

SHAPE, MM = (40, 48, 44), 4.
CHANNELS = ("T1", "T1c", "T2", "FLAIR")
LABELS = {"background": 0, "oedema": 1, "tumour_core": 2}
#          brain, ventricle, oedema, core, vessel: values of each channel
TISSUES = np.array([[80, -60, 20, 0, 60], [80, -60, 20, 180, 190], [0, 220, 170, 190, -80], [40, -90, 200, 150, 0]], np.float32)
GRID = Geometry(SHAPE, np.diag([MM, MM, MM, 1.]))


def brain(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """float32 (4, K, J, I) and ids uint8 (K, J, I) of number `seed`."""
    random = np.random.default_rng((seed, 11))
    places = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    head = _blob(places, np.zeros(3), np.array([.85, .85, .8]), random, .06)
    ventricle = _blob(places, random.normal(0, .05, 3), np.array([.2, .3, .15]) * random.uniform(.7, 1.2), random, .2) & head
    at = random.uniform(-.45, .45, 3)
    oedema = _blob(places, at, random.uniform(.2, .4, 3), random, .3) & head
    core = _blob(places, at + random.normal(0, .05, 3), random.uniform(.1, .22, 3), random, .3) & oedema
    vessel = (np.abs(_waves(random, 3)) < .06) & head & ~oedema
    tissue = np.select([core, vessel, oedema, ventricle], [3, 4, 2, 1], 0)
    image = TISSUES[:, tissue] + 12 * random.standard_normal((4, *SHAPE)) + 15 * np.stack([_waves(random, 8) for _ in CHANNELS])
    image[:, ~head] = -1000
    return image.astype(np.float32), np.where(core, 2, oedema).astype(np.uint8)


def _blob(places: np.ndarray, at: np.ndarray, radii: np.ndarray, random: np.random.Generator, rough: float) -> np.ndarray:
    away = np.sqrt((((places - at[:, None, None, None]) / radii[:, None, None, None]) ** 2).sum(0))
    return away + rough * _waves(random, 4) < 1


def _waves(random: np.random.Generator, wide: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.standard_normal(SHAPE), wide, mode="wrap")
    return noise / noise.std()


def make(root: Path, train: int, test: int) -> None:
    """nnU-Net's raw layout: imagesTr/brain_000_0000.nii.gz and so on, one file a channel."""
    for seed in range(train + test):
        part, name = "Tr" if seed < train else "Ts", f"brain_{seed:03d}"
        for folder in ("images", "labels"):
            (root / f"{folder}{part}").mkdir(parents=True, exist_ok=True)
        image, ids = brain(seed)
        for number, channel in enumerate(image):
            write_volume(Volume(channel, GRID), root / f"images{part}" / f"{name}_{number:04d}.nii.gz")
        write_labels(LabelMap(ids, GRID, {1: "oedema", 2: "tumour_core"}), root / f"labels{part}" / f"{name}.nii.gz")
    about = {"channel_names": {str(n): name for n, name in enumerate(CHANNELS)}, "labels": LABELS, "numTraining": train, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(about, indent=1))


def as_files(root: Path, train: int, test: int) -> None:
    """The test cases as volumes with four channels."""
    (root / "whole").mkdir(parents=True, exist_ok=True)
    for seed in range(train, train + test):
        image = nib.Nifti1Image(brain(seed)[0].T, None)
        image.set_sform(GRID.ijk_to_ras, 1)
        nib.save(image, root / "whole" / f"brain_{seed:03d}.nii.gz")


def score(root: Path, model: str, seeds: range, steps: int, samples: int) -> dict:
    """Dice of each label by the segmentor that the refiner carries, and refined; of the cases as files of four channels."""
    as_files(root, seeds.start, len(seeds))
    loaded = load_model(model)
    head = Segmenter(loaded, "cpu", refine=False)
    rows = []
    for seed in seeds:
        volume = read_image(root / "whole" / f"brain_{seed:03d}.nii.gz", channels=len(CHANNELS))
        truth = LabelMap(brain(seed)[1], GRID, {id: name for name, id in LABELS.items() if id})
        prediction = head.segment(volume)
        image, _ = to_model_grid(volume, loaded.preprocessing)
        prior = prediction.logits.float().softmax(0)
        refined = refine_volume(loaded, image, prior, steps=steps, samples=samples)
        found = LabelMap(native_labels(refined.logits, prediction.geometry, volume.geometry).astype(np.uint8), volume.geometry, truth.names)
        rows.append({"case": f"brain_{seed:03d}", **{f"{name} {what}": row.dice for what, labels in (("segmentor", prediction.labels), ("refiner", found))
                                                   for name, row in zip(truth.names.values(), compare(labels, truth))}})
    return {"steps": steps, "samples": samples, "rows": rows}


def table(record: dict) -> str:
    """Mean Dice and how often the refiner's is the higher one."""
    rows = record["rows"]
    lines = [("label", "segmentor", "refiner", "higher")]
    for name in (name for name, id in LABELS.items() if id):
        before, after = ([row[f"{name} {what}"] for row in rows] for what in ("segmentor", "refiner"))
        lines.append((name, f"{np.mean(before):.3f}", f"{np.mean(after):.3f}", f"{sum(a > b for a, b in zip(after, before))} of {len(rows)}"))
    return f"{len(rows)} volumes of four channels, {record['steps']} steps, {record['samples']} samples\n{aligned(lines)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("make", "as-files", "score"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=24, metavar="N")
    parser.add_argument("--test", type=int, default=8, metavar="N")
    parser.add_argument("--model", metavar="FILE", help="to score: a refiner that carries its segmentor")
    parser.add_argument("-o", "--out", type=Path, metavar="FILE.json", help="keep the record")
    args = parser.parse_args()
    if args.command != "score":
        {"make": make, "as-files": as_files}[args.command](args.folder, args.train, args.test)
        return
    record = score(args.folder, args.model, range(args.train, args.train + args.test), 4, 8)
    if args.out:
        write(args.out, record)
    print(table(record))


if __name__ == "__main__":
    main()
