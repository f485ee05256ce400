"""The PyTorch side of the speed benchmark: a checkout of the release, in several modes."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from elir_jax.parity.checkout import Checkout, default_settings
from elir_jax.weights.layouts import Source
from elir_jax.weights.release import to_release
from elir_jax.weights.sizes import read_sizes

OWN = Path(__file__).resolve().parents[1] / "tests" / "torch_reference"


def modes(torch, dtype: str) -> dict[str, dict[str, bool]]:
    """The modes that may be fastest on this device; on a GPU, bfloat16 is autocast."""
    ways = {
        "as shipped": {},
        "channels-last": {"channels_last": True},
        "compiled": {"compiled": True},
        "compiled, channels-last": {"compiled": True, "channels_last": True},
    }
    if torch.cuda.is_available() and dtype == "bfloat16":
        shipped = {"as shipped": ways.pop("as shipped")}
        return shipped | {f"autocast, {n}": how | {"autocast": True} for n, how in ways.items()}
    return ways


class TorchSide:
    """The release's networks with our weights; callables that restore or train once."""

    def __init__(self, repository: Path, params, num_steps: int, sigma_s: float, precision: str):
        import torch

        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.allow_tf32 = precision != "highest"
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        source = Source(Path("weights"), "", to_release(params), str)
        settings = default_settings(num_steps, sigma_s)
        checkout = Checkout(repository, source, read_sizes(source), settings)
        self.model = checkout.model.to(self.device)
        self.losses, self.average, self.config = checkout.losses, checkout.average, checkout.config

    def _model(self, channels_last=False, compiled=False):
        model = copy.deepcopy(self.model)
        if channels_last:
            model = model.to(memory_format=self.torch.channels_last)
        self.torch._dynamo.reset()  # or it keeps the models that were compiled before
        if compiled:
            # Compile each size and batch separately, without dynamic shapes or a limit.
            self.torch._dynamo.config.recompile_limit = 1000
            for name, network in model.named_children():
                setattr(model, name, self.torch.compile(network, dynamic=False))
        return model

    def _images(self, x: np.ndarray, channels_last: bool):
        tensor = self.torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).to(self.device)
        return tensor.to(memory_format=self.torch.channels_last) if channels_last else tensor

    def _context(self, autocast: bool):
        return self.torch.autocast(self.device, self.torch.bfloat16, enabled=autocast)

    def _wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()

    def restorer(self, x: np.ndarray, *, autocast=False, **how) -> Callable:
        """A call that restores ``x`` (b, h, w, 3) by Algorithm 1."""
        torch, model, config = self.torch, self._model(**how).eval(), self.config
        image, steps = self._images(x, how.get("channels_last", False)), config["k_steps"]

        def call():
            with torch.no_grad(), self._context(autocast):
                z = model.mmse(model.enc(image))
                z = z + config["sigma_s"] * torch.randn_like(z)
                for k in range(steps):
                    t = torch.full((1,), k / steps, device=self.device)
                    z = (
                        z
                        + model.fmir(z, self.losses.pos_emb(t, config["unet"]["t_emb_dim"])) / steps
                    )
                restored = model.dec(z)
            self._wait()
            return restored

        return call

    def trainer(self, x: np.ndarray, *, autocast=False, **how) -> Callable:
        """A call that makes one update: consistency and latent L2, AdamW, moving average."""
        torch, model, config = self.torch, self._model(**how).train(), self.config
        image = self._images(x, how.get("channels_last", False))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith("dec."))
        teacher = SimpleNamespace(
            encoder=copy.deepcopy(self.model.enc).requires_grad_(False), decoder=model.dec
        )
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=config["lr"], weight_decay=config["weight_decay"])
        average = self.average(model, self.device, decay=config["ema_decay"])
        settings = config | {"t_emb_dim": config["unet"]["t_emb_dim"]}

        def call():
            optimizer.zero_grad()
            with self._context(autocast):
                loss = self.losses.l2_cfm_loss(model, image, image, settings, teacher)
            loss.backward()
            optimizer.step()
            average.update(model)
            self._wait()
            return loss

        return call
