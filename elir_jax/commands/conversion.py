"""The work of the command ``elir_jax.interop.convert``: read weights of any layout, write one."""

import shlex
from pathlib import Path
from typing import NamedTuple

import jax

from elir_jax.compose.finding import Found, find_weights
from elir_jax.compose.packing import pack
from elir_jax.errors import UserError
from elir_jax.methods.distillation import TEACHER
from elir_jax.methods.latent_pmrf import build_velocity
from elir_jax.running.records.best import checkpoint_named
from elir_jax.running.records.checkpoint import is_checkpoint
from elir_jax.running.records.writers import FOLDER
from elir_jax.types import Params
from elir_jax.weights.files import SAFETENSORS, SUFFIXES, Tensors, write_tensors
from elir_jax.weights.hdit import hdit_tensors
from elir_jax.weights.layouts import PARTS
from elir_jax.weights.models import is_model, write_model
from elir_jax.weights.opening import open_weights
from elir_jax.weights.own import FILE, has_weights, read_weights, write_weights
from elir_jax.weights.pmrf import HUB_FILE, write_pmrf
from elir_jax.weights.release import to_release
from elir_jax.weights.shaping import is_of_latent_pmrf, is_of_pmrf, pmrf_of
from elir_jax.weights.sim_vae import is_of_sim_vae, sim_vae_tensors

LIGHTNING = ".ckpt"


class Loaded(NamedTuple):
    """What a source holds."""

    title: str
    params: Params
    options: list[str]  # those that select these networks
    found: Found | None = None  # with its configuration, if it brings one


def load(source: Path) -> Loaded:
    """Weights of any source."""
    source = checkpoint_named(source)
    if is_checkpoint(source) or (source / FOLDER).is_dir():
        found = find_weights(source)
        return Loaded(f"averaged weights of {found.title}", found.given, [], found)
    if not source.exists():
        raise UserError(f"{source}: no such file or folder")
    if source.is_dir() and has_weights(source):
        return Loaded("converted weights", read_weights(source), [])
    if is_model(source):
        found = find_weights(source)
        return Loaded(f"the model of {found.title}", found.given, [], found)
    opened = open_weights(source)
    options = [f"--config.{name}={v}".replace(" ", "") for name, v in opened.options.items()]
    return Loaded(opened.title, opened.params, options)


def convert(
    source: Path, target: Path, overwrite: bool, as_model: bool = False, decoder: str = ""
) -> None:
    """Read ``source``, write ``target``, and print a summary."""
    if decoder and not as_model:
        raise UserError("--decoder: only a model takes another decoder; add --model")
    to_file = target.suffix.lower() in SUFFIXES or target.suffix.lower() == LIGHTNING
    if as_model and target.suffix.lower() != SAFETENSORS:
        raise UserError(f"{target}: a model is one file; name it NAME{SAFETENSORS}")
    taken = target if to_file else target / FILE
    if taken.exists() and not overwrite:
        raise UserError(f"{taken}: already exists; choose another name or give --overwrite")
    if not to_file and (target / "checkpoints").exists():
        raise UserError(f"{target}: a run with checkpoints; choose another folder")
    if to_file and not target.parent.is_dir():
        raise UserError(f"{target.parent}: no such folder")

    if as_model:
        model = pack(source, decoder)
        write_model(target, model)
        print(f"wrote {target}, {target.stat().st_size / 1e6:.1f} MB: {model.title}")
        return
    title, params, options, found = load(source)
    counts = {
        part: sum(leaf.size for leaf in jax.tree.leaves(params[part]))
        for part in PARTS.values()
        if part in params
    }
    print(f"{source}: {title}; parameters: {', '.join(f'{k} {v:,}' for k, v in counts.items())}")
    if to_file:
        print(f"wrote {target}, in {_write(target, params, found)}")
        return
    print(f"wrote {write_weights(target, params)}")
    if options:
        place = "--workdir=" if "velocity" in params else "--config.autoencoder.weights="
        print("use it with:", shlex.join([f"{place}{target}", *options]))


def _write(target: Path, params: Params, found: Found | None) -> str:
    """Write a file of another project; returns whose layout it has."""
    if TEACHER in params:
        raise UserError(
            f"{target}: a student and its teacher do not fit in it; make a model of the run with "
            f"--model, and convert that"
        )
    lightning, hub = target.suffix.lower() == LIGHTNING, target.name == HUB_FILE
    latent = is_of_latent_pmrf(params)
    if lightning and (latent or not is_of_pmrf(params)):
        raise UserError(
            f"{target}: only PMRF's networks go into {LIGHTNING}; choose another ending, as "
            f"{SAFETENSORS}"
        )
    if is_of_sim_vae(params):
        write_tensors(target, sim_vae_tensors(params))
        return "Sim-VAE's layout"
    if latent:
        write_tensors(target, _latent_velocity(target, params, found))
        return "the layout of Latent-PMRF's velocity, which is all that it holds"
    if not is_of_pmrf(params):
        write_tensors(target, to_release(params))
        return "the release's layout"
    if not lightning and not hub:
        raise UserError(
            f"{target}: PMRF's files are {LIGHTNING}, or a folder's {HUB_FILE}; choose one of them"
        )
    pmrf = pmrf_of(params)
    settings = {"stage": "flow" if "velocity" in params else "mmse"}
    write_pmrf(target if lightning else target.parent, pmrf, settings)
    return "PMRF's layout"


def _latent_velocity(target: Path, params: Params, found: Found | None) -> Tensors:
    """The velocity of a run of latent_pmrf, whose configuration has what no array's shape tells."""
    if found is None:
        raise UserError(f"{target}: sizes of the velocity are in its run; name the run's folder")
    module = build_velocity(found.config)
    variables = {"params": params["velocity"], "constants": params["constants"]}
    return hdit_tensors(module, variables)
