"""All benchmarks that need no data but what they make: `make bench`. With --small only to see that they run."""
from __future__ import annotations

from . import clicking, denoising, memory, refining, resampling, segmenting, stitching, upsampling
from .measure import machine, report

print(machine(), flush=True)
for benchmark in (resampling, upsampling, stitching, segmenting, memory, denoising, refining, clicking):
    report(benchmark.run, benchmark.__doc__)
