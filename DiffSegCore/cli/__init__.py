"""The command `diffseg`: one file a command, and here what they share, from the arguments to the exit code.

Exit codes: 0 done, 1 the work failed, 2 wrong use or bad input, 130 stopped with Ctrl+C; a command may return another itself.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager
from typing import Iterator, Sequence

from .. import __version__
from ..errors import BadInput
from . import batch, demo, evaluate, evaluate_clicks, export, models, refine, segment, train

DONE, FAILED, WRONG_USE, STOPPED = 0, 1, 2, 130
_EXAMPLES = """\
examples:
  diffseg demo                                          try it: a sample volume, its labels and a picture
  diffseg segment ct.nii.gz -o organs.seg.nrrd          name the organs of a CT, for 3D Slicer
  diffseg segment dicom_folder -o organs.nii.gz --picture organs.png
  diffseg batch folder results --format nii.gz          every volume of a folder, a list or a DICOM tree
  diffseg refine ct.nii.gz --prior organs.nii.gz -o better.nii.gz --model MODEL
  diffseg evaluate organs.nii.gz truth.nii.gz           Dice, surface Dice, HD95 and volumes per organ
  diffseg models                                        which models there are, and how good they are
  diffseg train head --recipe quick --data DIR -o run   train one on your own cases

`diffseg COMMAND --help` explains a command. Not for clinical use.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; argparse itself exits with 2 on wrong use."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return DONE
    try:
        with _stopping_cleanly():
            return _quietly(args)
    except BadInput as error:
        return _refuse(args, str(error), WRONG_USE)
    except KeyboardInterrupt:
        return _refuse(args, "Stopped; no partial file is left.", STOPPED)
    except BrokenPipeError:  # `diffseg models | head -1`: the reader has seen enough
        sys.stderr.close()
        return DONE
    except Exception as error:  # whatever it is, the user gets a sentence and a way to the traceback
        hint = "" if args.debug else " Run it again with --debug for the traceback."
        return _refuse(args, f"It failed: {_described(error)}.{hint}", FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="diffseg", description="Name the organs in a CT with a diffusion model.", epilog=_EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"diffseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in (demo, segment, batch, refine, export, evaluate, evaluate_clicks, train, models):
        command.add(commands)
    return parser


def _quietly(args: argparse.Namespace) -> int:
    """Libraries' warnings are for developers; ours reach the user as sentences."""
    with warnings.catch_warnings():
        if not args.debug:
            warnings.simplefilter("ignore")
        code = args.run(args)
        sys.stdout.flush()
    return DONE if code is None else code


@contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Let `kill` unwind like Ctrl+C, so that no temporary file stays behind a stopped job."""
    if threading.current_thread() is not threading.main_thread():  # only there may a program say what signals do
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse(args: argparse.Namespace, sentence: str, code: int) -> int:
    if args.debug:
        traceback.print_exc()
    print(f"diffseg: {sentence}", file=sys.stderr)
    return code


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(". ") if str(error) else type(error).__name__
