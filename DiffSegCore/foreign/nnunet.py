"""nnU-Net's own predictor on a volume in memory: its preprocessing, its windows and mirrors, its way back to the volume's grid."""
from __future__ import annotations

import itertools
import math
import warnings
from contextlib import contextmanager
from typing import Any, Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..foreign_file import ForeignModel
from ..geometry import Box, Geometry
from ..progress import Progress, part
from ..volume import Volume
from .checkpoint import read_checkpoint
from .found import Found, exclusive
from .nnunet_folder import CHECKPOINT, check_architecture, labels_of, read_json
from .packages import needed, quietly
from .turning import Turn

TURNED = "NibabelIOWithReorient"  # nnU-Net's reader that turns images to RAS; its others leave them as stored
PACKAGE = "nnunetv2"


def check_installed() -> None:
    needed("nnunetv2.inference.predict_from_raw_data", PACKAGE)


class NNUNet:
    """A trained nnU-Net on a device; labels are exactly those of nnUNetPredictor with its defaults."""

    def __init__(self, model: ForeignModel, device: torch.device) -> None:
        predicting = needed("nnunetv2.inference.predict_from_raw_data", PACKAGE)
        self._plans, self._dataset = read_json(model.path("plans.json")), read_json(model.path("dataset.json"))
        self._labels = labels_of(self._dataset)
        with quietly(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old plans, which it reads all the same
            self._predictor = predicting.nnUNetPredictor(device=device, allow_tqdm=False)
            self._restore(model, [read_checkpoint(model.path(f"{fold}/{CHECKPOINT}")) for fold in model.settings["folds"]])

    def run(self, volume: Volume, progress: Progress) -> Found:
        predictor = self._predictor
        turn = (Turn.canonical if self._plans.get("image_reader_writer") == TURNED else Turn.none)(volume.geometry)
        channels = volume.array if volume.array.ndim == 4 else volume.array[None]
        image = np.ascontiguousarray(turn.there(channels), dtype=np.float32)
        progress(0.0, "Preparing the image as nnU-Net does")
        with quietly():
            data, properties = self._prepared(image, list(turn.geometry.spacing))
            with _watched(predictor.network, predictor.label_manager.num_segmentation_heads, self._steps(data.shape), part(progress, .1, .85)):
                logits = predictor.predict_logits_from_preprocessed_data(data).cpu()
            progress(0.85, "Labels on the scan's own grid")
            values = self._exported(logits, properties)
        chances = self._ordered(logits.float())
        return Found(np.ascontiguousarray(turn.back(values)), chances, self._grid(turn.geometry, properties, chances.shape[1:]))

    def _restore(self, model: ForeignModel, checkpoints: list[dict[str, Any]]) -> None:
        """As its `initialize_from_trained_model_folder`, less the pickle, and less the trainer, which only builds what the plans say."""
        handling, building = needed("nnunetv2.utilities.plans_handling.plans_handler", PACKAGE), needed("nnunetv2.utilities.get_network_from_plans", PACKAGE)
        counting = needed("nnunetv2.utilities.label_handling.label_handling", PACKAGE)
        plans = handling.PlansManager(self._plans)
        configuration = plans.get_configuration(model.settings["configuration"])
        if configuration.previous_stage_name is not None:
            raise BadInput(f"The model {model.name!r} is the second stage of a cascade and needs the first one's result; add one of the other configurations.")
        asked = (configuration.network_arch_class_name, configuration.network_arch_init_kwargs, configuration.network_arch_init_kwargs_req_import)
        check_architecture(*asked)
        inputs = counting.determine_num_input_channels(plans, configuration, self._dataset)
        network = building.get_network_from_plans(*asked, inputs, plans.get_label_manager(self._dataset).num_segmentation_heads,
                                                  allow_init=False, deep_supervision=False)
        weights = [each["network_weights"] for each in checkpoints]
        try:
            network.load_state_dict(weights[0])
        except RuntimeError as error:
            trainer = checkpoints[0].get("trainer_name", "?")
            raise BadInput(f"The weights of {model.name!r} are not of the network in its plans: the trainer {trainer} built another, which is not supported.") from error
        self._predictor.manual_initialization(network, plans, configuration, weights, self._dataset, checkpoints[0].get("trainer_name", ""),
                                              checkpoints[0].get("inference_allowed_mirroring_axes"))

    def _prepared(self, image: np.ndarray, spacing: list[float]) -> tuple[Tensor, dict[str, Any]]:
        iterators, predictor = needed("nnunetv2.inference.data_iterators", PACKAGE), self._predictor
        ready = next(iterators.PreprocessAdapterFromNpy([image], [None], [{"spacing": spacing}], [None], predictor.plans_manager,
                                                        predictor.dataset_json, predictor.configuration_manager, num_threads_in_multithreaded=1))
        return torch.as_tensor(ready["data"]), ready["data_properties"]

    def _exported(self, logits: Tensor, properties: dict[str, Any]) -> np.ndarray:
        exporting, predictor = needed("nnunetv2.inference.export_prediction", PACKAGE), self._predictor
        return exporting.convert_predicted_logits_to_segmentation_with_correct_shape(
            logits, predictor.plans_manager, predictor.configuration_manager, predictor.label_manager, properties, num_threads_torch=torch.get_num_threads())

    def _steps(self, shape: tuple[int, ...]) -> int:
        """How often the network is asked for data (C, k, j, i)."""
        sliding, predictor = needed("nnunetv2.inference.sliding_window_prediction", PACKAGE), self._predictor
        patch = predictor.configuration_manager.patch_size
        flat = len(patch) == 2
        size = [max(n, side) for n, side in zip(shape[-len(patch):], patch)]
        windows = math.prod(map(len, sliding.compute_steps_for_sliding_window(tuple(size), tuple(patch), predictor.tile_step_size)))
        mirrors = 2 ** len(predictor.allowed_mirroring_axes or ())
        return windows * (shape[1] if flat else 1) * mirrors * len(predictor.list_of_parameters)

    def _ordered(self, logits: Tensor) -> Tensor:
        """(heads, ...) on transposed axes -> (1 + organs, k, j, i)."""
        stored = logits.permute(0, *(1 + axis for axis in self._predictor.plans_manager.transpose_backward))
        return exclusive(stored) if self._labels.overlap else stored

    def _grid(self, own: Geometry, properties: dict[str, Any], shape: tuple[int, ...]) -> Geometry:
        """Of the logits: the cropped image between the same edges, with other voxels."""
        sides = [properties["bbox_used_for_cropping"][axis] for axis in self._predictor.plans_manager.transpose_backward]
        return own.crop(Box(tuple(side[0] for side in sides), tuple(side[1] for side in sides))).with_shape(shape)


@contextmanager
def _watched(network: nn.Module, heads: int, steps: int, progress: Progress) -> Iterator[None]:
    """Tell `progress` of every call of the network. What that raises is raised at the end, and until then the network answers at once:
    nnU-Net's thread that cuts windows would else wait for ever, and keep the image.
    """
    ask: Callable[[Tensor], Tensor] = network.forward
    raised: list[Exception] = []
    count = itertools.count()

    def forward(windows: Tensor) -> Tensor:
        try:
            if not raised:
                progress(min(1.0, next(count) / steps), "Finding organs with nnU-Net")
                return ask(windows)
        except Exception as error:
            if isinstance(error, RuntimeError):  # PyTorch's own, such as memory, which the predictor knows to handle
                raise
            raised.append(error)
        return windows.new_zeros((len(windows), heads, *windows.shape[2:]))

    network.forward = forward
    try:
        yield
    finally:
        del network.forward
    if raised:
        raise raised[0]
