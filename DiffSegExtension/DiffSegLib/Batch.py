"""Segments a folder without a window:

    Slicer --no-splash --no-main-window --python-script .../DiffSegLib/Batch.py IN OUT [--model ...]

does what `diffseg batch IN OUT` does, with the same options and exit codes, in the Python that Setup chose for the worker.
The work is done by a process of its own: torch stays out of the application, and the process ends with it however it ends.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Mapping, Sequence

FAILED, STOPPED = 1, 130
_CHILD = "DIFFSEG_BATCH_CHILD"  # says that standard input ends when the application does
_LIBRARY = Path(__file__).resolve().parent


def main(argv: Sequence[str]) -> int:
    """The exit code of the batch: 0 all done, 1 some failed, 2 nothing could run, 130 stopped."""
    argv = list(argv[1:] if argv[:1] == ["--"] else argv)
    if _application() is None:
        return _work(argv)
    sys.path.insert(0, str(_LIBRARY.parent))
    from DiffSegLib.WorkerPython import command

    program, environment = command()
    return _delegate(program, environment, argv)


def _application() -> Any:
    """Slicer, when this runs inside it; it imports itself before any script."""
    slicer = sys.modules.get("slicer")
    return slicer if hasattr(slicer, "app") else None


def _work(argv: Sequence[str]) -> int:
    if os.environ.get(_CHILD):
        threading.Thread(target=_stopWithTheApplication, daemon=True).start()
    if importlib.util.find_spec("DiffSegCore") is None:
        sys.path[:0] = [str(_LIBRARY.parent), str(_LIBRARY.parents[1])]  # installed, or a checkout
    from DiffSegCore.cli import main as diffseg

    return diffseg(["batch", *argv])


def _stopWithTheApplication() -> None:
    while os.read(0, 1):  # unbuffered: a thread inside sys.stdin would spoil an ordinary end
        pass
    signal.raise_signal(signal.SIGTERM)  # as Ctrl+C to the command; that itself is ignored by whatever a shell started in the background


def _delegate(program: str, environment: Mapping[str, str], argv: Sequence[str]) -> int:
    line = [program, str(Path(__file__).resolve()), *argv]
    try:
        process = subprocess.Popen(line, stdin=subprocess.PIPE, env={**environment, _CHILD: "1"})
    except OSError as error:
        print(f"diffseg: The Python {program} cannot be started ({error.strerror}); choose another in DiffSeg's Setup.", file=sys.stderr)
        return 2
    try:
        return process.wait()
    except KeyboardInterrupt:  # it unwinds by itself once its input ends
        return STOPPED
    finally:
        process.stdin.close()
        process.wait()


def run() -> None:
    """An exception must not leave a Slicer without a window behind, running for ever."""
    code = FAILED
    try:
        code = main(sys.argv[1:])
    except SystemExit as exit:  # argparse's word on wrong use and --help
        code = exit.code if isinstance(exit.code, int) else FAILED
    except Exception:
        traceback.print_exc()  # nobody else would: the application ends with the exit below
    finally:
        slicer = _application()
        if slicer is not None:
            slicer.util.exit(code)
        else:
            sys.exit(code)


if __name__ == "__main__":
    run()
