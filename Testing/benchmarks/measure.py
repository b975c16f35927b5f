"""What every benchmark shares: seconds of rivals in turn, peak memory of a fresh process, and a line for a finding."""
from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping

import torch

THREADS = int(os.environ.get("OMP_NUM_THREADS", min(2, os.cpu_count() or 1)))
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finding:
    """One measured number; `least` or `most` is what it is held against, neither where it only informs."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        if self.least is None and self.most is None:
            return f"  {self.what:<66} {self.value:>10.4g}"
        met = self.value >= self.least if self.least is not None else self.value <= self.most
        target = f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"  {self.what:<66} {self.value:>10.4g}   {target}: {'met' if met else 'MISSED'}"


def fastest(rivals: Mapping[str, Callable[[], Any]], repeats: int = 3) -> dict[str, float]:
    """Shortest wall time of each in seconds; they take turns, so that a busy minute hurts all of them."""
    seconds = {name: float("inf") for name in rivals}
    for _ in range(repeats):
        for name, run in rivals.items():
            began = time.perf_counter()
            result = run()
            seconds[name] = min(seconds[name], time.perf_counter() - began)
            del result
    return seconds


def peak_gb(module: str, *arguments: str) -> float:
    """Peak resident memory of `python -m Testing.benchmarks.<module> <arguments>`, which prints it by `print_peak`."""
    run = subprocess.run([sys.executable, "-m", f"Testing.benchmarks.{module}", *arguments], cwd=ROOT, text=True,
                         capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the measuring process ended with {run.returncode}: {run.stderr[-2000:]}")
    return float(run.stdout.split()[-1])


def print_peak() -> None:
    """VmHWM where there is one: ru_maxrss on Linux starts at the parent's peak."""
    status = Path("/proc/self/status")
    if status.exists():
        print(int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) / 1e6)
    else:
        import resource
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9)


def machine() -> str:
    info = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return f"{name[1] if name else platform.processor()}, {os.cpu_count()} cores, {THREADS} threads used, torch {torch.__version__}"


def report(run: Callable[[bool], list[Finding]], describe: str) -> None:
    """Print a benchmark's findings; --small shrinks the data to see that it runs."""
    torch.set_num_threads(THREADS)
    print(describe.strip().splitlines()[0], flush=True)
    for finding in run("--small" in sys.argv):
        print(finding, flush=True)
