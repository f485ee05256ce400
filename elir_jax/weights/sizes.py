"""Read the sizes of the networks from the release's tensors, so that users need not give them."""

import re
from typing import NamedTuple

import jax

from elir_jax.errors import UserError
from elir_jax.methods.elir import ElirNetworks, init_latent_flow, latent_flow
from elir_jax.networks.autoencoder import Autoencoder
from elir_jax.networks.rrdb import RRDBNet
from elir_jax.networks.unet import UNet
from elir_jax.types import Params
from elir_jax.weights.layouts import Source


class Sizes(NamedTuple):
    """The networks of a file; a TAESD file has no estimator and no velocity."""

    autoencoder: Autoencoder
    estimator: RRDBNet | None
    velocity: UNet | None

    def like(self) -> Params:
        """The shapes of all parameters, as one tree."""

        def init(key):
            params = self.autoencoder.init(key)
            if self.estimator is not None:
                channels = self.autoencoder.latent_channels
                params |= init_latent_flow(key, channels, self.estimator, self.velocity)
            return params

        return jax.eval_shape(init, jax.random.key(0))

    def networks(self) -> ElirNetworks:
        """The networks as pure functions, in float32."""
        return latent_flow(self.autoencoder, self.estimator, self.velocity)

    def with_form(self, form: str) -> "Sizes":
        """The same with another form of the expanded blocks; collapsed ones do not change."""

        def change(module):
            expanded = module is not None and module.form != "plain"
            return module.clone(form=form) if expanded else module

        return Sizes(self.autoencoder, change(self.estimator), change(self.velocity))

    def options(self) -> dict[str, object]:
        """The fields of the configuration that select these networks."""
        fields = {
            "autoencoder.width": self.autoencoder.width,
            "autoencoder.latent_channels": self.autoencoder.latent_channels,
        }
        for section, module, names in (
            ("estimator", self.estimator, ("hidden", "num_blocks")),
            (
                "velocity",
                self.velocity,
                ("hidden", "channel_multipliers", "num_mid_blocks", "time_dim"),
            ),
        ):
            if module is not None:
                fields |= {f"{section}.{name}": getattr(module, name) for name in (*names, "form")}
        return fields


def read_sizes(source: Source) -> Sizes:
    """Sizes of the networks in ``source``. Raises UserError for a tensor that is missing."""
    tensors = source.tensors

    def shape(name: str) -> tuple[int, ...]:
        if name not in tensors:
            raise UserError(f"{source.path}: 1 tensor(s) missing: {source.original(name)}")
        return tensors[name].shape

    def count(prefix: str) -> int:
        """The number of different numbers after ``prefix``."""
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.")
        return len({m[1] for m in map(pattern.match, tensors) if m})

    def expanded(part: str, last: int) -> bool:
        return any(re.match(rf"{part}\..*\.block\.{last}\.weight", name) for name in tensors)

    autoencoder = Autoencoder(
        width=shape("enc.layers.0.weight")[0], latent_channels=shape("enc.layers.14.weight")[0]
    )
    if not any(name.startswith(("mmse.", "fmir.")) for name in tensors):
        return Sizes(autoencoder, None, None)

    wide = expanded("mmse", 1)
    estimator = RRDBNet(
        hidden=shape(f"mmse.lrm.0.RDB1.conv1.block.{int(wide)}.weight")[0],
        num_blocks=count("mmse.lrm"),
        form="collapsing" if wide else "plain",
    )
    multipliers = []
    for i in range(count("fmir.down_blocks")):
        down = f"fmir.down_blocks.{i}.1.conv"
        if any(name.startswith(down) for name in tensors):
            out, into = shape(f"{down}.weight")[:2]
            multipliers.append(out // into)
        else:
            multipliers.append(1)
    velocity = UNet(
        hidden=shape("fmir.first_proj.weight")[0],
        channel_multipliers=tuple(multipliers),
        num_mid_blocks=count("fmir.mid_blocks"),
        time_dim=shape("fmir.time_mlp.linear1.weight")[1],
        form="collapsing" if expanded("fmir", 3) else "plain",
    )
    return Sizes(autoencoder, estimator, velocity)
