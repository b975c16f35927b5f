"""Pretexts compared: the same encoder, volumes and budget, then the same probes. `python -m Testing.benchmarks.pretraining --help`."""
