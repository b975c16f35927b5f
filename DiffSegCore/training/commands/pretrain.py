"""`diffseg train pretrain`: an encoder from unlabelled volumes, by denoising; also its dry run, and volumes drawn from it."""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ...errors import BadInput
from ...progress import Progress, part, silent
from . import machine

HELP = "pretrain an encoder on unlabelled volumes, by diffusion"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "what to train, e.g. head-neck, ct-1.5mm, amos-comparable or quick")
    parser.add_argument("--also", nargs="+", type=Path, default=[], metavar="DIR", help="more data sets, folders of volumes or DICOM, or files")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PATTERN", help='cases to leave out, e.g. "STS_03?"')
    parser.add_argument("--skip-corrupt", action="store_true", help="leave volumes out that cannot be used, instead of stopping")
    parser.add_argument("--guidance", choices=("none", "input", "auxiliary", "both"), help="instead of the recipe's use of body coordinates")
    parser.add_argument("--coordinates", type=Path, metavar="FILE", help="a model of `diffseg train body`, which guidance needs")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that prepare volumes and patches (0: none of their own)")
    parser.add_argument("--check", action="store_true", help="only try it: read the data, count, estimate time and memory, take a few steps")
    parser.add_argument("--sample", type=int, metavar="N", help="only draw N volumes from the model in the output folder, with a picture")
    parser.add_argument("--at", type=float, metavar="Z", help="with --sample: N more volumes at this height of the body, 0 to 1")
    parser.add_argument("--size", type=int, nargs=3, metavar=("K", "J", "I"), help="with --sample: voxels, instead of a training patch")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="with --sample: of the noise")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path] | list[str]:
    """What the arguments say: files written, or what a check found; nothing in any but the first of several processes."""
    _check_wishes(args)
    fabric = machine.start(args)
    from ..pretrain import pretrain
    from ..pretrain_check import check
    from ..pretrain_data import Source
    from ..pretrain_recipes import recipe

    progress = progress if fabric.is_global_zero else silent
    wished = machine.shortened(recipe(args.recipe), args.steps)
    wished = replace(wished, guidance=args.guidance or wished.guidance)
    source = Source([args.data, *args.also], args.coordinates, args.leave_out, args.skip_corrupt, args.workers)
    if args.sample:
        return _sample(args, wished, source, fabric.device, progress)
    if args.check:
        found = check(wished, source, args.out, fabric, progress)
        return found if fabric.is_global_zero else []
    path = pretrain(wished, source, args.out, fabric, resume=args.resume, progress=progress)
    return [path] if fabric.is_global_zero else []


def _check_wishes(args: argparse.Namespace) -> None:
    if args.sample is not None and args.sample < 1:
        raise BadInput(f"--sample draws one volume or more, not {args.sample}")
    if not args.sample and (args.at is not None or args.size):
        raise BadInput("--at and --size say what to draw; add --sample N")
    if args.workers < 0:
        raise BadInput(f"--workers is a number of threads from 0, not {args.workers}")


def _sample(args: argparse.Namespace, recipe, source, device, progress: Progress) -> list[Path]:
    """Volumes, a picture of them beside real ones; both lie in the output folder's samples/."""
    from ...model import load_model_file
    from ..pretrain import NAMES
    from ..pretrain_data import watched_images
    from ..pretrain_pictures import save_samples_picture
    from ..pretrain_sampling import Sampler, Wish, real_patches, write_samples

    sampler = Sampler(load_model_file(args.out / f"{NAMES[recipe.guidance]}.safetensors"), device)
    size = tuple(args.size) if args.size else None
    wishes = [Wish(args.sample, size, at, args.seed) for at in dict.fromkeys((None, args.at))]
    real = watched_images(recipe, source, args.out / "cache", part(progress, 0, .1))
    drawn, files = write_samples(sampler, wishes, args.out / "samples", part(progress, .1, .95))
    shape = drawn["anywhere"][0].shape
    picture = args.out / "samples" / "samples.png"
    save_samples_picture(picture, {"real": real_patches(real, shape, max(16, args.sample)), **drawn}, sampler.model.preprocessing)
    return [*files, picture]
