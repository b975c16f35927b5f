"""The kinds of `diffseg train`: one file a kind, with HELP, add_arguments(parser) and run(args, progress) -> files written."""
from . import body, click, head, pretext, pretrain, probe, refiner

KINDS = {"head": head, "body": body, "pretrain": pretrain, "pretext": pretext, "probe": probe, "refiner": refiner, "click": click}
