"""Files of PMRF (ohayonguy/PMRF) and of the posterior means that it starts from.

- PMRF's Lightning checkpoint (.ckpt): ``state_dict`` holds the velocity as ``model.`` and its
  frozen posterior mean as ``mmse_model.``; ``ema.shadow_params`` holds the averaged parameters of
  ``model.``, a list without names, in the module's own order. Networks of its metrics (``fid.``,
  ``inception_score.``) and entries of the trainer are ignored.
- its folder on the hub: the same names in ``model.safetensors``, settings in ``config.json``.
- only a posterior mean: PMRF's checkpoint of that stage (then SwinIR is ``model.``), or DifFace's
  ``.pth``, with or without a table around it.

PyTorch's files are read as tensors only (:mod:`elir_jax.weights.files`).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.types import Params
from elir_jax.weights.files import Tensors, read_tensors, write_tables, write_tensors
from elir_jax.weights.hdit import hdit_tensors, read_hdit
from elir_jax.weights.layouts import Source, listed
from elir_jax.weights.swinir import read_swinir, swinir_tensors

HUB_FILE, HUB_SETTINGS = "model.safetensors", "config.json"
EMA_DECAY = 0.9999
LIGHTNING_VERSION = "2.0.0"  # of the written format
# PMRF's networks by its names for them (utils/create_arch.py).
ARCHITECTURES = {
    "hdit_ImageNet256Sp4": HDiT((256, 512, 1024), (2, 2, 8), (7, 7, 0)),
    "hdit_XL2": HDiT((384, 768), (2, 11), (7, 0)),
    "swinir_L": SwinIR(180, (6,) * 8),
    "swinir_M": SwinIR(120, (6,) * 5),
}

_LEFT_ASIDE = ("fid.", "inception_score.")
_BUFFERS = re.compile(
    r"(time_emb|aug_emb)\.weight|.*\.(freqs|attn_mask|relative_position_index)"
)  # what ``parameters()`` does not list
# Tables of a file with a posterior mean, the preferred first; the names inside may have prefixes.
_TABLES = ("ema.", "params_ema.", "params.", "state_dict.", "")
_AVERAGE = "ema.shadow_params."
_PREFIXES = re.compile(r"(module\.|model\.)*")


class Trained(NamedTuple):
    """A network, its variables, and the same with averaged parameters, or None."""

    module: HDiT | SwinIR
    variables: Params
    averaged: Params | None = None

    @property
    def best(self) -> Params:
        """The averaged variables if there are any, with which PMRF restores."""
        return self.variables if self.averaged is None else self.averaged


class Pmrf(NamedTuple):
    """A checkpoint; ``estimator`` is None if it contains no posterior mean."""

    model: Trained
    estimator: Trained | None = None


def read_pmrf(path: Path) -> Pmrf:
    """Read a checkpoint or a hub folder; ``model`` is HDiT, or SwinIR in the stage of the mean.

    Raises a UserError that names a tensor if it is missing, unknown or of another shape.
    """
    tensors, average = _of_lightning(path)
    parts: dict[str, Tensors] = {"model.": {}, "mmse_model.": {}}
    unknown = []
    for name, value in tensors.items():
        part = next((prefix for prefix in parts if name.startswith(prefix)), None)
        if part:
            parts[part][name.removeprefix(part)] = value
        elif not name.startswith(_LEFT_ASIDE):
            unknown.append(name)
    if unknown:
        raise UserError(f"{path}: {len(unknown)} unknown tensor(s): {listed(unknown)}")
    if not parts["model."]:
        raise UserError(f"{path}: no tensor named model.*; give a checkpoint of PMRF")
    model, estimator = (
        Source(path, "PMRF", part, lambda name, prefix=prefix: prefix + name)
        for prefix, part in parts.items()
    )
    return Pmrf(_trained(model, average), _trained(estimator, []) if estimator.tensors else None)


def read_estimator(path: Path) -> tuple[SwinIR, Params]:
    """SwinIR from DifFace's file, or the averaged one from PMRF's checkpoint of the posterior mean.

    Raises a UserError that names a tensor if it is missing, unknown or of another shape.
    """
    tensors = read_tensors(path)
    if any(name.startswith(_AVERAGE) for name in tensors):
        model = read_pmrf(path).model
        if not isinstance(model.module, SwinIR):
            raise UserError(f"{path}: a checkpoint of PMRF's flow, not of its posterior mean")
        return model.module, model.best
    table = next(t for t in _TABLES if any(name.startswith(t) for name in tensors))
    originals = {
        name[_PREFIXES.match(name, len(table)).end() :]: name
        for name in tensors
        if name.startswith(table)
    }
    named = {ours: tensors[theirs] for ours, theirs in originals.items()}
    return read_swinir(Source(path, "SwinIR", named, lambda name: originals.get(name, name)))


def write_pmrf(path: Path, pmrf: Pmrf, settings: Mapping[str, object]) -> None:
    """Write a Lightning checkpoint (.ckpt), or a hub folder with the averaged parameters.

    ``settings`` are those of PMRF's ``MMSERectifiedFlow`` (``stage``, ``mmse_noise_std``); ``arch``
    and ``mmse_model_arch`` are added if they are missing. PMRF's code also builds the networks of
    its metrics and looks for their weights, so it reads the folder as it is, but the checkpoint
    only with ``strict=False``. Raises UserError if PMRF has no name for a network, or if the file
    cannot be written.
    """
    settings = dict(settings)
    tensors = {}
    for name, part in (("arch", pmrf.model), ("mmse_model_arch", pmrf.estimator)):
        if name not in settings:
            settings[name] = _architecture(part.module) if part else None
    if pmrf.estimator:
        theirs = _tensors(pmrf.estimator.module, pmrf.estimator.best)
        tensors = {f"mmse_model.{name}": value for name, value in theirs.items()}
    if path.suffix != ".ckpt":
        path.mkdir(parents=True, exist_ok=True)
        tensors |= _model(pmrf.model.module, pmrf.model.best)
        write_tensors(path / HUB_FILE, tensors)
        (path / HUB_SETTINGS).write_text(json.dumps(settings, indent=2) + "\n")
        return
    averaged = _tensors(pmrf.model.module, pmrf.model.best)
    ema = [value for name, value in averaged.items() if not _BUFFERS.fullmatch(name)]
    tables = {
        "state_dict": _model(pmrf.model.module, pmrf.model.variables) | tensors,
        "hyper_parameters": settings,
        "ema": {
            "decay": EMA_DECAY,
            "num_updates": None,
            "shadow_params": ema,
            "collected_params": None,
        },
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "epoch": 0,
        "global_step": 0,
    }
    write_tables(path, tables)


def _of_lightning(path: Path) -> tuple[Tensors, list[np.ndarray]]:
    """The whole state dict, and the averages without names, which a hub folder does not have."""
    if path.is_dir():
        return read_tensors(path / HUB_FILE), []
    tensors = read_tensors(path)
    average = _under(tensors, _AVERAGE)
    return _under(tensors, "state_dict.") or tensors, [average[str(i)] for i in range(len(average))]


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}


def _trained(source: Source, average: list[np.ndarray]) -> Trained:
    """The network of ``source``, also with the values of ``average`` for its parameters.

    Names are first put into the module's order, because a file may have another one.
    """
    read = read_hdit if "patch_in.proj.weight" in source.tensors else read_swinir
    module, variables = read(source)
    if not average:
        return Trained(module, variables)
    names = [name for name in _tensors(module, variables) if not _BUFFERS.fullmatch(name)]
    if [source.tensors[name].shape for name in names] != [value.shape for value in average]:
        raise UserError(
            f"{source.path}: ema.shadow_params ({len(average)} tensors) does not match the "
            f"{len(names)} parameters of model. in number or shape"
        )
    averaged = source.tensors | dict(zip(names, average, strict=True))
    return Trained(module, variables, read(source._replace(tensors=averaged))[1])


def _tensors(module: HDiT | SwinIR, variables: Params) -> Tensors:
    write = hdit_tensors if isinstance(module, HDiT) else swinir_tensors
    return write(module, variables)


def _model(module: HDiT | SwinIR, variables: Params) -> Tensors:
    return {f"model.{name}": value for name, value in _tensors(module, variables).items()}


def _architecture(module: HDiT | SwinIR) -> str:
    names = [name for name, known in ARCHITECTURES.items() if known == module]
    if not names:
        sizes = " ".join(repr(module).split())
        raise UserError(f"PMRF has no name for a network of these sizes: {sizes}")
    return names[0]
