"""What an evaluation is of: weights, their own configuration, and what was changed of it.

The weights of a run or a model bring their configuration, and it counts. Fields that belong to the
weights (:mod:`elir_jax.compose.measuring`) may differ from it only if that is allowed; then the
differences are told wherever figures are.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from elir_jax.compose import inference_shapes, lacks_frozen
from elir_jax.compose.data import build_data
from elir_jax.compose.finding import Found, config_of, find_weights, run_of
from elir_jax.compose.measuring import FREE, changes
from elir_jax.compose.restoration import changed_config, changed_method, fitted, without_frozen
from elir_jax.devices import hosts
from elir_jax.errors import UserError
from elir_jax.fields import plain
from elir_jax.methods.method import Method
from elir_jax.running.starting import flatten
from elir_jax.storage.opening import place_of
from elir_jax.storage.place import Place
from elir_jax.types import Params

LONGEST = 120  # letters of the name of an evaluation
ALLOW = "--allow-config-change"


class Subject(NamedTuple):
    """Weights to evaluate, as the parts take them, with the configuration that counts."""

    title: str  # step 20
    place: Place  # of the weights
    run: Place | None  # the folder of the run that they are of
    step: int | None
    config: ConfigDict
    changed: dict[str, str]  # field -> ``the run's own -> this evaluation's``
    notes: list[str]
    method: Method
    weights: tuple[Params, Params]

    def name(self, workdir: Place, *more: str) -> str:
        """A name for the evaluation: what it is of, and what differs from the run's own."""
        of = "weights" if self.step is None else f"step-{self.step}"
        if self.run is None and self.place.parent != workdir:
            of = self.place.stem
        elif self.run not in (None, workdir):
            of = f"{self.run.name}-{of}"
        values = flatten(plain(self.config))
        changed = [f"{field}-{_short(values.get(field))}" for field in self.changed]
        name = "-".join(re.sub(r"[^\w.]+", "-", word).strip("-.") for word in [of, *more, *changed])
        return name[:LONGEST].rstrip("-.")

    def facts(self, workdir: Place, measured: dict[str, Any]) -> dict[str, Any]:
        """What is evaluated, for the file of figures; its place as seen from ``workdir``."""
        inside = workdir in self.place.parents
        place = self.place.relative_to(workdir) if inside else self.place
        told = {"checkpoint": str(place), "step": self.step, "changed": self.changed}
        return told | measured | {"configuration": plain(self.config)}


def find_subject(
    path: Place,
    given: ConfigDict | None,
    overrides: Sequence[str],
    *,
    allow: bool = False,
    held_out: bool = True,
) -> Subject:
    """The weights in ``path``, with their own configuration; the same on every host.

    ``given`` serves weights that bring no configuration; with others it must agree. ``overrides``
    are words of a command line, ``--config.FIELD=VALUE``. With ``allow``, both may change what
    belongs to the weights. Raises UserError, on every host, if they may not and do, if the weights
    belong to another network, or if ``held_out`` images are to be measured and the run has trained
    on other images than those that they are left out of now.
    """
    found: Found | None = None

    def decide() -> dict[str, Any]:
        nonlocal found
        found = find_weights(path, default=given)
        config, changed, notes = _settled(found, given, overrides)
        if held_out and found.own and not config.data.eval_path:
            changed |= _other_images(found.config, config)
        belonging = [f"{field}: {said}" for field, said in changed.items() if field not in FREE]
        if belonging and not allow:
            raise UserError(
                f"{path}: was made with another configuration: {'; '.join(belonging)}; leave these "
                f"fields as they were, or evaluate with the change by {ALLOW}"
            )
        run = run_of(path)
        return {
            "title": found.title, "place": str(found.place), "run": run and str(run),
            "step": found.step, "config": plain(config), "changed": changed, "notes": notes,
            "apart": found.frozen is not None,
        }  # fmt: skip

    told = hosts.decided_by_first(decide)
    config = config_of(told["config"])
    method = changed_method(config, {})
    read = hosts.agreed(lambda: None if found is None else fitted(method, found)[1:])
    weights = hosts.tree_from_first(read, inference_shapes(method))
    notes = told["notes"]
    if lacks_frozen(method, {} if told["apart"] else None):
        method = without_frozen(method)
        notes.append(
            "these weights hold only the trained encoder, not the frozen one: what that computes, "
            "the flow's target and the autoencoder's reconstruction, is left out"
        )
    return Subject(
        told["title"],
        place_of(told["place"]),
        told["run"] and place_of(told["run"]),
        told["step"],
        config,
        told["changed"],
        notes,
        method,
        weights,
    )


def _settled(
    found: Found, given: ConfigDict | None, overrides: Sequence[str]
) -> tuple[ConfigDict, dict[str, str], list[str]]:
    """(the configuration that counts, what was changed of the weights' own, notes)."""
    own = changed_config(found.config, found.changes)
    if not found.own:  # ``given`` is all there is, and has the overrides
        return own, {}, []
    config, notes = overridden(own, overrides), []
    if given is not None:
        asked = changes(plain(own), plain(given))
        by_flags = changes(plain(own), plain(config))
        if left := [field for field in asked if field in FREE and field not in by_flags]:
            notes.append(
                f"as the run has them, not as the file of --config: {', '.join(left)}; "
                f"--config.FIELD=VALUE changes them"
            )
        if asked.keys() - FREE:
            config = overridden(_with_free_fields(given, own), overrides)
    return config, changes(plain(own), plain(config)), notes


def _with_free_fields(given: ConfigDict, own: ConfigDict) -> ConfigDict:
    """``given``, but what each evaluation may choose is as in ``own``."""
    values, known = flatten(own.to_dict()), flatten(given.to_dict())
    fields = FREE & values.keys() & known.keys()
    return changed_config(given, {field: values[field] for field in fields})


def _other_images(own: ConfigDict, config: ConfigDict) -> dict[str, str]:
    """How the images that would have been trained on differ from those of the run."""
    there = own.get("training_images")
    if there is None:
        return {}
    there, here = plain(there), build_data(config).fingerprint()
    return {
        f"training_images.{name}": f"{json.dumps(there.get(name))} -> {json.dumps(here[name])}"
        for name in here
        if there.get(name) != here[name]
    }


def overridden(config: ConfigDict, words: Sequence[str]) -> ConfigDict:
    """A copy with fields changed by ``--config.FIELD=VALUE``. Raises UserError."""
    values = flags.FlagValues()
    argv = ["", *words]
    try:
        config_flags.DEFINE_config_dict(
            "config", config.copy_and_resolve_references(), flag_values=values, sys_argv=argv
        )
        values(argv)
    except (AttributeError, KeyError, flags.UnrecognizedFlagError) as error:
        text: Any = error
        while isinstance(text, BaseException):
            text = text.args[0] if text.args else type(text).__name__
        raise UserError(f"unknown config field {'; '.join(str(text).splitlines())}") from error
    except (flags.Error, TypeError, ValueError) as error:
        raise UserError(str(error)) from error
    return values.config


def _short(value: Any) -> str:
    """A value of a field, for a name: of a path the last part."""
    return str(value).rstrip("/").rpartition("/")[2]
