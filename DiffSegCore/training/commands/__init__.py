"""The kinds of `diffseg train`: one file a kind, with HELP, add_arguments(parser) and run(args, progress) -> files written."""
from . import body, head, probe

KINDS = {"head": head, "body": body, "probe": probe}
