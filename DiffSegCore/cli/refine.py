"""`diffseg refine`: labels from anywhere, made better where they are unsure."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files import beside, suffix_of
from ..progress import part
from .command import add_command
from .places import LABEL_SUFFIXES, check_writable, label_file
from .segment import DEVICES
from .terminal import bar

_MAPS = (".nii.gz", ".nii", ".nrrd", ".mha")


def add(commands: Any) -> None:
    parser = add_command(commands, "refine", "make labels better where they are unsure", run,
                         more="Prints each label's volume before and after, and between which volumes it may lie.")
    parser.add_argument("input", metavar="INPUT", type=Path, nargs="+",
                        help="the image: a volume, a DICOM folder, a picture (PNG, TIFF, JPEG), or a file for each channel")
    parser.add_argument("--prior", metavar="FILE", type=Path, required=True,
                        help="labels on INPUT's grid, from any tool, or chances: .npz as nnU-Net writes it, or a volume of floats")
    parser.add_argument("-o", "--output", metavar="OUTPUT", required=True,
                        help=f"refined labels; the suffix says how ({', '.join(LABEL_SUFFIXES)}; .png for a picture)")
    parser.add_argument("--model", metavar="NAME|PATH", help="a model with a refiner")
    parser.add_argument("--label", metavar="N", type=int, help="refine this label alone")
    parser.add_argument("--steps", metavar="N", type=int, help="of each sample (default: as many as were best on the refiner's validation cases)")
    parser.add_argument("--samples", metavar="N", type=int, default=8, help="whose mean is the result (default: 8); of one step all are the same")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="the same seed gives the same result")
    parser.add_argument("--uncertainty", metavar="FILE", type=Path,
                        help="also write a map of the entropy in nats, and beside it one of the samples' disagreement (-disagreement; with one step there is none)")
    parser.add_argument("--series", metavar="UID", help="which DICOM series of a folder with several; the largest by default")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute; auto takes the fastest there is")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> None:
    output = label_file(args.output, args.input[0])
    _check_places(args, output)
    with bar(quiet=args.quiet) as progress:  # first what may be refused, then what takes long
        from ..data.prior_files import read_prior
        from ..data.sources import read_image
        from ..registry import DEFAULT, find_model, load_model

        model_file = find_model(args.model or DEFAULT)
        progress(0., "Loading the model")
        model = load_model(model_file)
        progress(.02, "Reading the image")
        volume = read_image(args.input, series=args.series, channels=model.channels, flat=model.flat)
        prior = read_prior(args.prior, volume.geometry)
        from ..refined_labels import refine_labels
        from ..segmenter import usable_device

        refined = refine_labels(model, volume, prior, label=args.label, steps=args.steps, samples=args.samples, seed=args.seed,
                                device=usable_device(args.device), progress=part(progress, .1, .95))
        progress(.95, "Writing")
        _write(args, output, refined)
    if not args.quiet:
        _report(args, output, refined)


def _maps(args: argparse.Namespace) -> tuple[Path, ...]:
    """The map of the entropy and, beside it, that of the disagreement."""
    if args.uncertainty is None:
        return ()
    suffix = suffix_of(args.uncertainty)
    if suffix not in _MAPS:
        raise BadInput(f"Cannot write a map to {args.uncertainty}: its name has to end in {', '.join(_MAPS)}.")
    return args.uncertainty, beside(args.uncertainty, f"-disagreement{suffix}")


def _check_places(args: argparse.Namespace, output: Path) -> None:
    from ..data.sources import check_found_place

    check_found_place(output)
    for name in ("steps", "samples"):
        if (number := getattr(args, name)) is not None and number < 1:
            raise BadInput(f"{name.capitalize()} are 1 or more, not {number}.")
    for path in (output, *_maps(args)):
        for given in (*args.input, args.prior):
            if path.exists() and given.exists() and os.path.samefile(path, given):
                raise BadInput(f"{path} is the input itself; choose another name for the output.")
        check_writable(path)


def _write(args: argparse.Namespace, output: Path, refined: Any) -> None:
    from ..data.sources import write_found
    from ..writing import write_volume

    write_found(refined.labels, output)
    for path, values in zip(_maps(args), (refined.entropy, refined.disagreement)):
        write_volume(values, path)


def _report(args: argparse.Namespace, output: Path, refined: Any) -> None:
    from ..evaluation import aligned

    rate = next((each.rate for each in refined.sizes if each.rate), None)
    rows = [(each.name, f"{each.before_ml:.1f}", f"{each.after_ml:.1f}", f"{each.low_ml:.1f} to {each.high_ml:.1f}" if each.rate == rate else "")
            for each in refined.sizes]
    print(aligned([("label", "ml before", "ml after", f"in {100 * rate:.0f} % of cases" if rate else "range"), *rows]))
    if not rate:
        print("Ranges are by the refiner's own chances; the true volume often lies outside.")
    print(f"\n{', '.join(map(str, (output, *_maps(args))))}  ({refined.seconds:.1f} s)")
