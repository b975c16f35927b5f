"""What a MONAI bundle says of itself: configs/metadata.json and configs/inference.json, models/model.pt or model.ts."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator, Mapping

from ..errors import BadInput
from ..foreign_file import ForeignModel, hashed, organ_names
from .nnunet_folder import read_json

CONFIGS = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
NETWORKS = ("models/model.pt", "models/model.ts")
_CT_RANGE, _OTHER_RANGE = (-1000.0, 1000.0), (0.0, 1000.0)


def look(path: Path, name: str, modality: str = "") -> ForeignModel:
    """The model in a bundle's folder, with its hashes; runs nothing of it. BadInput where something is missing or cannot be used."""
    folder = path.resolve()
    metadata = read_json(folder / "configs/metadata.json")
    config, network = _first(folder, CONFIGS), _first(folder, NETWORKS)
    labels = _labels(metadata)
    image = _format(metadata, "inputs", "image")
    kind = modality or _modality(str(image.get("modality", "")))
    low, high = _CT_RANGE if kind == "CT" else _OTHER_RANGE
    preprocessing = {"spacing_mm": list(_spacing(folder / config)), "intensity_knots": [[low, 0.0], [high, 1.0]], "modality": kind}
    code = sorted(each.relative_to(folder).as_posix() for each in (folder / "scripts").rglob("*.py"))
    others = sorted(each.relative_to(folder).as_posix() for each in (folder / "configs").iterdir() if each.is_file())
    return hashed(ForeignModel(name, "monai", str(folder), dict.fromkeys([*others, network, *code], ""), organ_names(list(labels.values())), tuple(labels),
                               preprocessing, int(image.get("num_channels", 1)), str(metadata.get("name") or metadata.get("task") or ""),
                               _licence(folder), settings={"config": config, "network": network, "packages": _packages(metadata)}))


def _first(folder: Path, names: tuple[str, ...]) -> str:
    for name in names:
        if (folder / name).is_file():
            return name
    raise BadInput(f"{folder} is not a whole MONAI bundle: it has none of {', '.join(names)}; fetch it again with its weights.")


def _format(metadata: Mapping[str, Any], side: str, key: str) -> Mapping[str, Any]:
    try:
        return metadata["network_data_format"][side][key]
    except (KeyError, TypeError) as error:
        raise BadInput(f"The bundle's metadata.json does not say what network_data_format/{side}/{key} is ({error}), so it cannot be used; complete it.") from error


def _labels(metadata: Mapping[str, Any]) -> dict[int, str]:
    """Channel -> name, without the background, which has to be channel 0."""
    channels = {int(n): str(name) for n, name in _format(metadata, "outputs", "pred").get("channel_def", {}).items()}
    if sorted(channels) != list(range(len(channels))) or len(channels) < 2 or "background" not in channels[0].lower():
        raise BadInput(f"The bundle's channels are {list(channels.values())}: only bundles whose first channel is the background, and whose others exclude "
                       "each other, can be used.")
    return {n: name for n, name in sorted(channels.items()) if n}


def _modality(word: str) -> str:
    word = word.upper()
    return "CT" if word == "CT" else "MR" if word.startswith("MR") else ""


def _spacing(config: Path) -> tuple[float, float, float]:
    """mm (K, J, I) that its transforms resample to, where they say so in numbers; else 1."""
    for transform in _targets(read_json(config) if config.suffix == ".json" else {}):
        steps = transform.get("pixdim")
        if str(transform.get("_target_", "")).endswith("Spacingd") and isinstance(steps, list) and all(isinstance(mm, (int, float)) and mm > 0 for mm in steps):
            return tuple(map(float, reversed(steps)))
    return (1.0, 1.0, 1.0)


def _targets(content: Any) -> Iterator[dict[str, Any]]:
    """Every object of the configuration, however deep."""
    if isinstance(content, dict):
        yield content
    for each in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        yield from _targets(each)


def _licence(folder: Path) -> str:
    files = [path for path in (folder / "LICENSE", folder / "docs/LICENSE") if path.is_file()]
    return f"see {files[0].name} in the bundle" if files else ""


def _packages(metadata: Mapping[str, Any]) -> list[str]:
    """What it says it needs beside MONAI, as pip names it."""
    told = {**metadata.get("optional_packages_version", {}), **metadata.get("required_packages_version", {})}
    return [f"{name}=={version}" for name, version in told.items()]
