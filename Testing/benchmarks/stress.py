"""A worker killed in a click, a worker whose memory is full, a client that goes without a word: what is lost, who hangs, what is left behind.

    python -m Testing.benchmarks.stress [--times 50]

The real engine in the real worker process, with a click model of random weights, small and the same each time. A hang is more than
three seconds from the blow to the moment in which the client knows of it (or, where the client is gone, its worker is). Linux only.
"""
from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import numpy as np

from DiffSegCore.crops import IMAGE_CHANNELS, SPACINGS_MM
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, save_model
from DiffSegCore.networks import build
from DiffSegCore.plain_values import plain_grid
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.service import Call, Failure, Service

from .measure import ROOT, Finding
from .stress_engine import FILLING

LONG_S = 3.0
ENGINE = "Testing.benchmarks.stress_engine:Pained"
GRID = Geometry((48, 64, 64), np.diag([4.0, 4.0, 4.0, 1.0]))


@dataclass
class Count:
    """Of one kind of blow."""

    told: list[float] = field(default_factory=list)  # seconds until the client knew
    again: list[float] = field(default_factory=list)  # seconds until the session answered again
    lost: int = 0
    orphans: int = 0
    leaked: int = 0

    def findings(self, what: str) -> list[Finding]:
        back = [Finding(f"{what}: seconds until the session answers, longest", max(self.again))] if self.again else []
        return [Finding(f"{what}: times", len(self.told)), Finding(f"{what}: seconds until it is known, longest", max(self.told), most=LONG_S),
                Finding(f"{what}: hangs", sum(each > LONG_S for each in self.told), most=0), Finding(f"{what}: sessions that lost something", self.lost, most=0),
                Finding(f"{what}: orphans", self.orphans, most=0), Finding(f"{what}: blocks of shared memory left", self.leaked, most=0), *back]


def service() -> Service:
    return Service(sys.executable, {**os.environ, "PYTHONPATH": str(ROOT)}, engine=ENGINE)


def save_click_model(folder: str) -> None:
    """With random weights it gives the prior back as prompts push it."""
    architecture = {"kind": "refiner", "image_channels": IMAGE_CHANNELS, "prompt_channels": PROMPT_CHANNELS, "widths": [8, 16, 32], "step_widths": [8, 8]}
    card = {"name": "stress", "refiner": RefinerCard().to_dict(), "click": {"spacings_mm": list(SPACINGS_MM)}}
    preprocessing = Preprocessing((2.0, 2.0, 2.0), ((-1000.0, -1.0), (1000.0, 1.0)), "CT")
    save_model(Model(build(architecture), architecture, preprocessing, (), (32, 32, 32), card), Path(folder, "stress.safetensors"))


def begin(one: Service) -> None:
    """A noisy volume with a label in it."""
    image = np.random.default_rng(0).normal(0, 50, GRID.shape).astype(np.int16)
    ids = np.zeros(GRID.shape, np.uint8)
    ids[16:32, 20:40, 20:40] = 1
    one.call("click_model", {"model": "stress", "device": "cpu"})
    one.call("set_volume", {"geometry": plain_grid(GRID), "modality": "CT", "names": {"1": "block"}}, {"image": image, "labels": ids})


def point(share: float, **more: Any) -> dict[str, Any]:
    return {"prompt": {"kind": "point", "label": 1, "inside": True, "ras": GRID.to_ras(np.array(GRID.shape) * share).tolist()}, **more}


def blows(times: int, what: Callable[[Service], tuple[float, Failure]], expected: str) -> Count:
    """So many blows to one session, which gets a prompt now and then; after each it has to be what it was."""
    count = Count()
    with service() as one:
        begin(one)
        for number in range(times):
            if number % 10 == 0:
                one.call("prompt", point(0.2 + 0.6 * number / times))
            before, prompts, worker = _state(one), one.call("prompts")[0], one.pid
            began, failure = what(one)
            count.told.append(time.monotonic() - began)
            same = np.array_equal(_state(one), before) and one.call("prompts")[0] == prompts
            count.again.append(time.monotonic() - began)
            count.lost += not same or failure.kind != expected
            count.orphans += not _ended(worker)
            print(f"  {number + 1}: {failure.kind} after {count.told[-1]:.2f} s, again after {count.again[-1]:.2f} s", file=sys.stderr)
        prefix = one._blocks.prefix
    count.leaked = _left(prefix)
    return count


def killed(one: Service) -> tuple[float, Failure]:
    """When the blow fell, and what came of it."""
    call = one.submit("prompt", point(0.5, lasting=10.0))
    while not call.taken:
        call.wait(0.01)
    call.wait(np.random.default_rng(one.restarts).uniform(0.0, 0.5))
    began = time.monotonic()
    os.kill(one.pid, signal.SIGKILL)
    return began, _failure(call)


def filled(one: Service) -> tuple[float, Failure]:
    call = one.submit("prompt", point(0.5, fill=True))
    while call.poll().stage != FILLING and not call.done:
        call.wait(0.01)
    return time.monotonic(), _failure(call)


def client_gone(times: int) -> Count:
    """Processes that end without a word in the middle of a click; their workers and memory have to go, too."""
    count = Count()
    for number in range(times):
        client = subprocess.Popen([sys.executable, "-m", "Testing.benchmarks.stress", "--client"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        worker, prefix = client.stdout.readline().split()
        time.sleep(np.random.default_rng(number).uniform(0.0, 0.3))
        client.kill()
        began = time.monotonic()
        client.wait()
        count.orphans += not _ended(int(worker), 2 * LONG_S)
        count.told.append(time.monotonic() - began)
        count.leaked += _left(prefix)
        client.stdout.close()
        print(f"  {number + 1}: worker gone after {count.told[-1]:.2f} s", file=sys.stderr)
    return count


def be_a_client() -> None:
    one = service()
    begin(one)
    call = one.submit("prompt", point(0.5, lasting=60.0))
    while not call.taken:
        call.wait(0.01)
    print(one.pid, one._blocks.prefix, flush=True)
    call.wait()


def run(times: int) -> list[Finding]:
    return [*blows(times, killed, "Crash").findings("killed in a click"), *blows(times, filled, "OutOfMemory").findings("memory full"),
            *client_gone(times).findings("client gone")]


def _state(one: Service) -> np.ndarray:
    return one.call("current")[1]["labels"]


def _failure(call: Call) -> Failure:
    try:
        call.result()
    except Failure as failure:
        return failure
    return Failure("none", "the call went well")


def _ended(pid: int, within: float = LONG_S) -> bool:
    until = time.monotonic() + within
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        if time.monotonic() > until:
            return False
        time.sleep(0.005)
    return True


def _left(prefix: str) -> int:
    return len(list(Path("/dev/shm").glob(prefix + "*")))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50, help="blows of each kind")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        be_a_client()
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["DIFFSEG_MODELS"] = folder
            save_click_model(folder)
            found = run(chosen.times)
        print(__doc__.splitlines()[0], *found, sep="\n")
        sys.exit(any(each.most is not None and each.value > each.most for each in found))
