"""Where a supervised training begins when it does not begin at random: with an encoder that was taught before."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import torch

from ..errors import BadInput
from ..model import Model, load_model_file
from ..networks import DiffusionEncoder, OrganNetwork, Refiner
from ..networks.denoiser import CLEAN
from ..networks.settling import settle
from .probe_reading import Source, open_source
from .recipes import HeadRecipe


def taught(file: Path, recipe: HeadRecipe) -> Source:
    """The encoder in a model of `train pretrain`, `pretext` or `head`; BadInput where it was taught on another grid, other values or another form."""
    source = open_source(str(file), recipe.widths, recipe.preprocessing)
    if source.widths != tuple(recipe.widths) or recipe.image_channels != 1 or recipe.window[0] == 1:
        raise BadInput(f"{file} holds an encoder of one channel in three dimensions, of widths {source.widths}; the recipe {recipe.name!r} trains one "
                       f"of {recipe.image_channels} channel(s), windows {recipe.window} and widths {tuple(recipe.widths)}")
    return source


def same_network(file: Path, recipe: HeadRecipe, organs: Sequence[str], architecture: Mapping[str, Any]) -> Model:
    """A model to go on from; BadInput where it names other organs, sees another grid or has another form than is to be trained."""
    model = load_model_file(file)
    if (model.organs, model.preprocessing, dict(model.architecture)) != (tuple(organs), recipe.preprocessing, dict(architecture)):
        raise BadInput(f"{file} is no model of the recipe {recipe.name!r}: its organs, its grid or its network differ; begin with --encoder, or with nothing")
    return model


def begin_with(network: OrganNetwork, source: Source) -> None:
    """Give the network the encoder's weights. One that was taught with noise is settled on clean images: organ networks are told no noise level."""
    encoder: DiffusionEncoder = getattr(source.network, "encoder", source.network)
    network.encoder.load_state_dict((settle(encoder, CLEAN) if source.denoises else encoder).state_dict())


@torch.no_grad()
def see_as(refiner: Refiner, segmentor: OrganNetwork) -> None:
    """Let the refiner's context begin as the segmentor's encoder, blind to prior and prompts: its answer is the prior still, but it need not
    learn anew what an image shows. BadInput where the two are of another form.
    """
    own, taught = refiner.encoder, segmentor.encoder
    if own.widths != taught.widths:
        raise BadInput(f"a refiner of widths {own.widths} cannot begin with a segmentor's encoder of widths {taught.widths}; choose another recipe or model")
    stem, channels = own.stem.weight, taught.stem.weight.shape[1]
    known = {name: value for name, value in taught.state_dict().items() if name in own.state_dict() and name != "stem.weight"}
    own.load_state_dict(known, strict=False)
    stem.zero_()
    stem[:, :channels] = taught.stem.weight
