"""A small nnU-Net folder, MONAI bundle and TorchScript network, each trained for some steps on a small CT, and that CT."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import numpy as np
import torch
from torch import Tensor, nn

from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume

NAMES = {1: "liver", 2: "spleen"}


def ct(seed: int = 0, ijk_to_ras: np.ndarray | None = None) -> tuple[Volume, LabelMap]:
    """A bright and a brighter block in grey, in air; its axes run to the left, to the back and up, as a scanner's."""
    rng = np.random.default_rng(seed)
    shape = (26, 34, 38)
    ids = np.zeros(shape, np.uint8)
    at = rng.integers(-2, 3, 3)
    ids[8 + at[0]:18 + at[0], 9 + at[1]:24 + at[1], 7 + at[2]:18 + at[2]] = 1
    ids[9 + at[0]:16 + at[0], 12 + at[1]:24 + at[1], 23 + at[2]:31 + at[2]] = 2
    hu = np.full(shape, -1000.0)
    hu[2:24, 4:30, 3:35] = -50
    hu[ids == 1], hu[ids == 2] = 120, 260
    hu += rng.normal(0, 25, shape)
    matrix = np.diag([-3.0, -3.0, 4.0, 1.0]) if ijk_to_ras is None else ijk_to_ras
    matrix[:3, 3] = (40, 30, -20)
    geometry = Geometry(shape, matrix)
    return Volume(hu.astype(np.int16), geometry, "CT"), LabelMap(ids, geometry, NAMES)


_WEIGHTS: dict[str, dict[str, Tensor]] = {}  # training is the slow part, and always the same


def trained(network: nn.Module, values: Callable[[np.ndarray], Tensor], steps: int = 25) -> nn.Module:
    """On whole volumes: values makes (B, 1, ...) of HU (K, J, I). Once for each architecture, as tests ask for it often."""
    key = str(network)
    if key not in _WEIGHTS:
        _train(network, values, steps)
        _WEIGHTS[key] = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.load_state_dict(_WEIGHTS[key])
    return network.eval()


def _train(network: nn.Module, values: Callable[[np.ndarray], Tensor], steps: int) -> None:
    torch.manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    network.train()
    for step in range(steps):
        volume, labels = ct(step)
        image = values(volume.array)
        truth = torch.from_numpy(labels.ids.astype(np.int64))[None]
        image, truth = image[..., :24, :32, :32], truth[..., :24, :32, :32]
        loss = nn.functional.cross_entropy(network(image), truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def nnunet_folder(folder: Path, *, reader: str = "SimpleITKIO", order: tuple[int, ...] = (0, 1, 2), folds: int = 1, mirror: bool = False,
                  regions: bool = False) -> Path:
    """As nnU-Net's training leaves it."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture = {"network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {"n_stages": 2, "features_per_stage": [8, 16], "conv_op": "torch.nn.modules.conv.Conv3d",
                                    "kernel_sizes": [[3, 3, 3]] * 2, "strides": [[1, 1, 1], [2, 2, 2]], "n_conv_per_stage": [1, 1],
                                    "n_conv_per_stage_decoder": [1], "conv_bias": True, "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                                    "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                                    "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}},
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]}
    resampling = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
    mean, sd = 0.0, 300.0
    plans = {"dataset_name": "Dataset900_Toy", "plans_name": "nnUNetPlans", "original_median_spacing_after_transp": [4.0, 3.0, 3.0],
             "original_median_shape_after_transp": [26, 34, 38], "image_reader_writer": reader, "transpose_forward": list(order),
             "transpose_backward": np.argsort(order).tolist(), "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
             "foreground_intensity_properties_per_channel": {"0": {"max": 400.0, "mean": mean, "median": mean, "min": -1100.0, "percentile_00_5": -1000.0,
                                                                   "percentile_99_5": 350.0, "std": sd}},
             "configurations": {"3d_fullres": {
                 "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": [16, 24, 24],
                 "median_image_size_in_voxels": [26.0, 30.0, 30.0], "spacing": [4.0, 3.5, 3.5], "normalization_schemes": ["CTNormalization"],
                 "use_mask_for_norm": [False], "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_seg": "resample_data_or_seg_to_shape",
                 "resampling_fn_data_kwargs": resampling, "resampling_fn_seg_kwargs": {**resampling, "is_seg": True, "order": 1},
                 "resampling_fn_probabilities": "resample_data_or_seg_to_shape", "resampling_fn_probabilities_kwargs": {**resampling, "order": 1},
                 "architecture": architecture, "batch_dice": False}}}
    labels: dict[str, Any] = {"background": 0, "Liver": [1, 2] if regions else 1, "Spleen": [2] if regions else 2}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 25, "file_ending": ".nii.gz"}
    if regions:
        dataset["regions_class_order"] = [1, 2]
    folder.mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for fold in range(folds):
        torch.manual_seed(7)
        network = get_network_from_plans(architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], 1,
                                         2 if regions else 3, allow_init=True, deep_supervision=False)
        if not regions:
            trained(network, lambda hu: torch.from_numpy((np.clip(hu, -1000, 350) - mean) / sd).float()[None, None])
        for weight in network.parameters():
            weight.data += .02 * fold * torch.randn_like(weight)
        (folder / f"fold_{fold}").mkdir()
        torch.save({"network_weights": network.state_dict(), "optimizer_state": {}, "grad_scaler_state": None,
                    "logging": {"mean_fg_dice": [np.float32(.5), np.float64(.6)], "dice_per_class_or_region": [[np.float64(.5), np.array([.5])]]},
                    "_best_ema": np.float64(.6), "current_epoch": 25, "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": fold,
                    "dataset_json": dataset, "device": torch.device("cpu")}, "trainer_name": "nnUNetTrainer",
                    "inference_allowed_mirroring_axes": (0, 1, 2) if mirror else None}, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def bundle_folder(folder: Path, **network: Any) -> Path:
    """A bundle as the model zoo's are laid out; nothing but its metadata and inference configuration says what it is."""
    from monai.networks.nets import UNet

    arguments = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [8, 16], "strides": [2], "norm": "instance"}
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    reading = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"},
               {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
               {"_target_": "Spacingd", "keys": "image", "pixdim": [3.5, 3.5, 4.0], "mode": "bilinear"},
               {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": -300, "a_max": 400, "b_min": -1, "b_max": 2, "clip": True}]
    back = [{"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image", "nearest_interp": False, "to_tensor": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True}, {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"}]
    config = {"imports": ["$import glob"], "bundle_root": ".", "output_dir": "$@bundle_root + '/eval'",
              "device": "$torch.device('cpu')", "network_def": {"_target_": "UNet", **arguments, **network},
              "network": "$@network_def.to(@device)", "preprocessing": {"_target_": "Compose", "transforms": reading},
              "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [24, 24, 16], "sw_batch_size": 2, "overlap": 0.5},
              "postprocessing": {"_target_": "Compose", "transforms": back}}
    metadata = {"version": "0.1.0", "name": "Toy bundle", "required_packages_version": {"nibabel": "5.2.0"}, "network_data_format": {
        "inputs": {"image": {"type": "image", "modality": "CT", "num_channels": 1}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "Liver", "2": "Spleen"}}}}}
    (folder / "configs/inference.json").write_text(json.dumps(config))
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    unet = trained(UNet(**arguments), lambda hu: torch.from_numpy(np.clip((hu + 300) / 700, 0, 1) * 3 - 1).float()[None, None], steps=40)
    torch.save(unet.state_dict(), folder / "models/model.pt")
    return folder


class Bright(nn.Module):
    """An organ where it is bright, another where it is brighter."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(image), 50 * (image - .04), 100 * (image - .115)], 1)


def script_file(path: Path, **changes: Any) -> Path:
    torch.jit.script(Bright()).save(path)
    told = {"labels": {"1": "Liver", "2": "Spleen"}, "spacing_mm": [4, 3, 3], "window": [16, 32, 32], "modality": "CT",
            "intensity_knots": [[-1000, -1], [1000, 1]], "title": "Bright things"}
    path.with_suffix(".json").write_text(json.dumps({**told, **changes}))
    return path
