"""Ratios to other tools, measured in one run on one machine: `python -m Testing.benchmarks`, or one file at a time."""
