"""Any file of another project -> our parameters by name, and the options that fit them."""

from pathlib import Path
from typing import NamedTuple

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.types import Params
from elir_jax.weights.files import read_names, read_tensors
from elir_jax.weights.hdit import read_hdit
from elir_jax.weights.layouts import Source, open_source
from elir_jax.weights.pmrf import HUB_FILE, Trained, read_estimator, read_pmrf
from elir_jax.weights.release import from_release
from elir_jax.weights.sim_vae import FILE as SIM_VAE_FILE
from elir_jax.weights.sim_vae import MARK, open_sim_vae, sim_vae_options
from elir_jax.weights.sizes import read_sizes

_MARKS = (  # kind, a tensor that it has
    ("sim_vae", MARK),
    ("flow", "patch_in.proj.weight"),
    ("latent flow", "proj_in.proj.weight"),
    ("estimator", "conv_first.1.weight"),
)
_WIDTHS = ("widths", "depths", "kernels", "head_dim", "mapping_width", "mapping_depth")
_SIZES = {
    "estimator": (SwinIR, ("width", "depths", "heads", "features")),
    "velocity": (HDiT, (*_WIDTHS, "patch")),
    "latent velocity": (HDiT, _WIDTHS),
}


class Opened(NamedTuple):
    """What a file holds."""

    title: str
    params: Params
    options: dict[str, object]  # the configuration's fields that ask for these networks


def open_weights(path: Path) -> Opened:
    """Read a file of the ELIR release, of TAESD, of PMRF, of its posterior mean or of Latent-PMRF.

    Folders are TAESD's pair or PMRF's of the hub. Raises UserError, naming it, for what is none of
    these and for a tensor that is missing, not known or of another shape.
    """
    kind = _kind(path)
    if kind == "sim_vae":
        vae, params = open_sim_vae(path)
        return Opened("Sim-VAE", params, sim_vae_options(vae))
    if kind == "flow":
        return _open_flow(path)
    if kind == "latent flow":
        module, variables = read_hdit(Source(path, "a velocity", read_tensors(path), str))
        params = {"velocity": variables["params"], "constants": variables["constants"]}
        return Opened("a velocity of Latent-PMRF", params, _options("latent velocity", module))
    if kind == "estimator":
        module, variables = read_estimator(path)
        params = {"estimator": variables["params"]}
        return Opened("a posterior mean of PMRF's", params, _options("estimator", module))
    source = open_source(path)
    sizes = read_sizes(source)
    return Opened(source.title, from_release(source, sizes.like()), sizes.options())


def is_pmrf(path: Path) -> bool:
    """Whether the file or folder is PMRF's, or a posterior mean that PMRF starts from."""
    return _kind(path) in ("flow", "estimator")


def is_of_transformers(path: Path) -> bool:
    """Whether the file or folder is PMRF's, Latent-PMRF's or Sim-VAE's; others are ELIR's kin."""
    return bool(_kind(path))


def _kind(path: Path) -> str:
    """``sim_vae``, ``flow``, ``latent flow``, ``estimator`` or nothing, by tensors' names."""
    files = [path / name for name in (HUB_FILE, SIM_VAE_FILE)] if path.is_dir() else [path]
    names = [name for file in files if file.is_file() for name in read_names(file)]
    return next((kind for kind, mark in _MARKS if any(n.endswith(mark) for n in names)), "")


def _open_flow(path: Path) -> Opened:
    pmrf = read_pmrf(path)
    variables = pmrf.model.best
    params = {"velocity": variables["params"], "constants": variables["constants"]}
    options = _options("velocity", pmrf.model.module) | _flow_options(pmrf.model, pmrf.estimator)
    if pmrf.estimator:
        params["estimator"] = pmrf.estimator.best["params"]
        options |= _options("estimator", pmrf.estimator.module)
    return Opened("a checkpoint of PMRF", params, options)


def _options(section: str, module: HDiT | SwinIR) -> dict[str, object]:
    kind, names = _SIZES[section]
    assert isinstance(module, kind)
    section = section.removeprefix("latent ")
    return {f"{section}.{name}": getattr(module, name) for name in names}


def _flow_options(model: Trained, estimator: Trained | None) -> dict[str, object]:
    """What the flow is given: with a condition, the network takes twice the channels."""
    assert isinstance(model.module, HDiT)
    given = "degraded" if estimator is None else "mean"
    inputs = model.variables["params"]["enter"]["kernel"].shape[0] // model.module.patch**2
    conditional = inputs != model.module.out_channels
    source, condition = ("noise", given) if conditional else (given, "none")
    return {"objective.source": source, "objective.condition": condition}
