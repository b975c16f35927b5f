"""The kinds of `diffseg train`: one file a kind, with HELP, add_arguments(parser) and run(args, progress) -> files written."""
from . import body, head, pretrain, probe

KINDS = {"head": head, "body": body, "pretrain": pretrain, "probe": probe}
