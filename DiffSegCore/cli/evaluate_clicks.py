"""`diffseg evaluate-clicks`: what a click model makes of clicks, on labelled cases."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..progress import part
from .command import add_command
from .segment import DEVICES
from .terminal import bar

_RULES = ("Each click goes to the deepest voxel of the largest piece of error, until so many are given; writes clicks.csv (a line a click), summary.json "
          "and clicks.png. A click is harmful if it costs more than .001 of Dice. NSD at 2 mm")


def add(commands: Any) -> None:
    parser = add_command(commands, "evaluate-clicks", "measure how few clicks a click model needs", run, more=f"{_RULES}.")
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, nargs="+", help="labelled data sets: nnU-Net raw, MSD, MONAI datalist or a folder a case")
    parser.add_argument("--model", metavar="NAME|PATH", required=True, help="a click model, as `diffseg train click` makes it")
    parser.add_argument("-o", "--out", metavar="DIR", type=Path, required=True, help="where the results go")
    parser.add_argument("--from", dest="start", choices=("empty", "automatic", "corrupted"), default="empty", help="the mask before the first click (default: empty)")
    parser.add_argument("--segmentor", metavar="NAME|PATH", help="makes the automatic masks (default: the bundled model)")
    parser.add_argument("--clicks", metavar="N", type=int, default=10, help="an object (default: 10)")
    parser.add_argument("--box", action="store_true", help="begin with a box round the object")
    parser.add_argument("--split", metavar="NAME", default="test", help="of a data set with several (default: test)")
    parser.add_argument("--only", metavar="PATTERN", nargs="+", default=[], help='cases, e.g. "STS_03?"')
    parser.add_argument("--leave-out", metavar="PATTERN", nargs="+", default=[], help="cases to leave out")
    parser.add_argument("--organs", metavar="NAME", nargs="+", default=[], help="only these")
    parser.add_argument("--cases", metavar="N", type=int, help="so many of each data set, spread over it")
    parser.add_argument("--steps", metavar="N", type=int, default=2, help="of the chain, a look (default: 2)")
    parser.add_argument("--seed", metavar="N", type=int, default=0)
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute; auto takes the fastest there is")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")


def run(args: argparse.Namespace) -> None:
    if args.clicks < 1 or args.cases is not None and args.cases < 1:
        raise BadInput(f"--clicks and --cases are 1 or more, not {args.clicks} and {args.cases}.")
    args.out.mkdir(parents=True, exist_ok=True)
    from ..click_evaluation.figure import save_curves
    from ..click_evaluation.summary import summary, table, write_rows, write_summary
    from ..model import load_model_file
    from ..pictures import check_picture
    from ..registry import find_model

    check_picture(args.out / "clicks.png")
    model = load_model_file(find_model(args.model))
    with bar(quiet=args.quiet) as progress:
        trials = _trials(args, model, progress)
    found = summary(trials)
    write_rows(trials, args.out / "clicks.csv")
    write_summary(found, {**_settings(args), "model_sha256": model.sha256}, args.out / "summary.json")
    name = model.card.get("name", "click model")
    save_curves(args.out / "clicks.png", {name: trials}, title=f"{', '.join(each.name for each in args.data)}, from {args.start}")
    if not args.quiet:
        print(table(found))
        print(f"\n{args.out / 'summary.json'}, clicks.csv, clicks.png")


def _trials(args: argparse.Namespace, model: Any, progress: Any) -> list[Any]:
    from ..click_evaluation.run import Task, Which, evaluated
    from ..click_evaluation.trials import SessionClicker

    which = Which(args.split, args.only, args.leave_out, args.organs, args.cases)
    task = Task(args.start, args.clicks, args.box, _segmenter(args))
    trials = []
    for number, folder in enumerate(args.data):
        def clicker(prediction: Any, organ: str) -> SessionClicker:
            return SessionClicker(model, steps=args.steps, seed=args.seed, device=args.device, prediction=prediction, organ=organ)

        trials += evaluated(folder, which, task, clicker, part(progress, number / len(args.data), (number + 1) / len(args.data)))
    return trials


def _segmenter(args: argparse.Namespace) -> Any:
    if args.start != "automatic":
        return None
    from ..registry import DEFAULT
    from ..segmentors import open_segmenter

    return open_segmenter(args.segmentor or DEFAULT, args.device)


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """Plain values, without where things lie on this machine."""
    kept = ("start", "clicks", "box", "split", "only", "leave_out", "organs", "cases", "steps", "seed")
    return {"data": [each.name for each in args.data], **{name: getattr(args, name) for name in kept}}
