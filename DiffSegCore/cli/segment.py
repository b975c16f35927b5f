"""`diffseg segment`: a volume in, labels of its organs out."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..progress import Progress, part
from .command import add_command
from .places import LABEL_SUFFIXES, check_writable, label_file
from .terminal import bar, warn

DEVICES = ("auto", "cpu", "cuda", "mps")


def add(commands: Any) -> None:
    parser = add_command(commands, "segment", "name the organs in a volume", run, more="Prints each organ's volume.")
    parser.add_argument("input", metavar="INPUT", type=Path, nargs="+",
                        help="NIfTI, NRRD, MHA or MHD file, DICOM folder or one of its files, a picture (PNG, TIFF, JPEG), or a file for each channel")
    parser.add_argument("-o", "--output", metavar="OUTPUT", action="append", required=True,
                        help=f"labels on INPUT's grid; the suffix says how ({', '.join(LABEL_SUFFIXES)}), .seg.nrrd opens in 3D Slicer with names "
                             "and colours; a folder gets INPUT's name with .seg.nrrd; may be given several times")
    parser.add_argument("--model", metavar="NAME|PATH", help="a name that `diffseg models` lists, or a model file (default: the one that finds most in INPUT)")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute; auto takes the fastest there is")
    parser.add_argument("--series", metavar="UID", help="which DICOM series of a folder with several; the largest by default")
    parser.add_argument("--picture", metavar="PNG", type=Path, help="also draw slices with outlines and the organs in 3D")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> None:
    outputs = [label_file(output, args.input[0]) for output in args.output]
    _check_places(args, outputs)
    with bar(quiet=args.quiet) as progress:  # first what may be refused, then what takes long
        from ..registry import name_of

        segmenter, model_file, volume = _opened(args, progress)
        prediction = segmenter.segment(volume, progress=part(progress, 0.1, 0.9))
        progress(0.9, "Writing")
        _write(args, outputs, volume, prediction.labels, name_of(model_file))
    if not args.quiet:
        _report(args, outputs, prediction, "" if args.model else name_of(model_file))


def _opened(args: argparse.Namespace, progress: Progress) -> tuple[Any, Path, Any]:
    """The segmenter, its model's file and the volume. A model that was named is loaded first, as it says what it reads."""
    from ..choosing import fitting_model
    from ..data.sources import read_image
    from ..registry import find_model
    from ..segmentors import open_segmenter

    if args.model is None:
        progress(0.0, "Reading the volume")
        volume = read_image(args.input, series=args.series, channels=1, flat=False)
        model_file = find_model(fitting_model(volume, args.device, part(progress, 0.02, 0.1)))
        return open_segmenter(model_file, args.device), model_file, volume
    model_file = find_model(args.model)
    progress(0.0, "Loading the model")
    segmenter = open_segmenter(model_file, args.device)
    progress(0.02, "Reading the volume")
    return segmenter, model_file, read_image(args.input, series=args.series, channels=segmenter.model.channels, flat=segmenter.model.flat)


def _check_places(args: argparse.Namespace, outputs: list[Path]) -> None:
    from ..data.sources import check_found_place
    from ..pictures import check_picture

    for path in outputs:
        check_found_place(path)
    if args.picture is not None:
        check_picture(args.picture)
    for path in [*outputs, *filter(None, [args.picture])]:
        if path.exists() and any(given.exists() and os.path.samefile(path, given) for given in args.input):
            raise BadInput(f"{path} is the input itself; choose another name for the output.")
        check_writable(path)


def _write(args: argparse.Namespace, outputs: list[Path], volume: Any, labels: Any, model: str) -> None:
    from ..data.sources import write_found
    from ..pictures import save_picture

    for path in outputs:
        write_found(labels, path)
    if args.picture is not None:
        shown = volume if volume.array.ndim == 3 else replace(volume, array=volume.array[0])  # the first channel
        save_picture(args.picture, shown, labels, title=args.input[0].resolve().name, note=f"DiffSeg, model {model}. Not for clinical use.")


def _report(args: argparse.Namespace, outputs: list[Path], prediction: Any, chosen: str) -> None:
    """chosen: the model's name, if nobody said which."""
    from ..confidence import organs_found
    from ..evaluation import aligned

    rows = [("organ", "ml", f"in {100 * prediction.ranges.rate:.0f} % of cases" if prediction.ranges else "")]
    for each in organs_found(prediction):
        limits = f"{each.low_ml:.1f} to {each.high_ml:.1f}" if each.rate else ""
        rows.append((each.size.name, f"{each.size.ml:.1f}" if each.size.ml else "not found", limits))
    print(aligned(rows))
    print(f"\n{', '.join(map(str, [*outputs, *filter(None, [args.picture])]))}  ({prediction.seconds:.1f} s)")
    if chosen:
        print(f"model {chosen}, chosen by the image; --model names another")
    for sentence in prediction.warnings:
        warn(sentence)
