"""Run PMRF's public code (ohayonguy/PMRF) on a CPU, from the user's own checkout.

Its networks and its Lightning module run unchanged; this project contains none of them. Modules
that they import and a comparison does not need are replaced: NATTEN (neighbourhood attention is
gathered here, window by window), timm (drop path is off), Lightning's trainer, metrics, logging and
the hub.
"""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from elir_jax.errors import UserError
from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.parity.arrays import Arrays
from elir_jax.parity.probes import probes
from elir_jax.parity.public_code import PublicCode, replace_module
from elir_jax.weights.files import Tensors

ROWS = 8  # of tokens whose windows are gathered at once
EMA_DECAY = 0.9999  # PMRF's


class PmrfCheckout(PublicCode):
    """PMRF's networks, of our sizes, in its Lightning module of the stage ``flow``.

    Without tensors, its own initialisation stays. Importing the checkout replaces modules of this
    process. Raises UserError if torch or the checkout cannot be imported, or if tensors do not fit.
    """

    def __init__(
        self,
        repository: Path,
        hdit: tuple[HDiT, Tensors | None],
        swinir: tuple[SwinIR, Tensors | None],
        sigma_s: float = 0.1,
    ):
        super().__init__(repository, "lightning_models", "ohayonguy/PMRF")
        _replace_modules(repository.resolve())
        with self.building():
            self.model, self.estimator = _networks(hdit[0], swinir[0])
            for network, tensors in ((self.model, hdit[1]), (self.estimator, swinir[1])):
                if tensors is not None:
                    network.load_state_dict(
                        {name: self.torch.from_numpy(np.array(a)) for name, a in tensors.items()}
                    )
            self.flow = _flow(self.model, self.estimator, sigma_s)

    def mean(self, y: np.ndarray) -> np.ndarray:
        """The posterior mean of ``y`` (b, h, w, 3), clipped to [0, 1]."""
        with self.torch.no_grad():
            return self.array(self.estimator(self.tensor(y)).clip(0, 1))

    def step(self, y: np.ndarray) -> np.ndarray:
        """The restoration of ``y`` as the flow's source, in one step."""
        given = self.tensor(y)
        with self.torch.no_grad():
            restored, *_ = self.flow.generate_reconstructions(
                given, given, given, 1, self.torch.device("cpu")
            )
        return self.array(restored)

    def restoration(self, y: np.ndarray, eps: np.ndarray, num_steps: int) -> Arrays:
        """``mean``, the source ``z0``, the Euler states ``z1``... and ``restored``."""
        given = self.tensor(y)
        with self.torch.no_grad(), self._draws(eps=eps):
            restored, states, _ = self.flow.generate_reconstructions(
                given, given, None, num_steps, self.torch.device("cpu")
            )
        arrays = {f"z{k}": self.array(state) for k, state in enumerate(states)}
        return arrays | {"mean": self.mean(y), "restored": self.array(restored)}

    def training(self, x: np.ndarray, y: np.ndarray, u: np.ndarray, eps: np.ndarray) -> Arrays:
        """An update for each row, in Lightning's order, the average after each.

        ``losses`` before each; of each parameter the norm of its first gradient (``gradnorm/``), of
        itself at the end (``norm/``), of its change (``moved/``) and of its average minus itself
        (``gap/``), and the probes of these two.
        """
        try:
            from torch_ema import ExponentialMovingAverage
        except ImportError as error:
            raise UserError("comparing with PMRF needs torch-ema; pip install torch-ema") from error
        named = dict(self.model.named_parameters())
        start = {name: parameter.detach().clone() for name, parameter in named.items()}
        optimizer = self.flow.configure_optimizers()
        average = ExponentialMovingAverage(self.model.parameters(), decay=EMA_DECAY)
        arrays, losses = {}, []
        for x_hq, x_lq, uniform, noise in zip(x, y, u, eps, strict=True):
            optimizer.zero_grad()
            batch = {"x": self.tensor(x_hq), "y": self.tensor(x_lq)}
            with self._draws(uniform, noise):
                loss = self.flow.training_step(batch, 0)
            loss.backward()
            if not losses:
                for name, parameter in named.items():
                    arrays[f"gradnorm/{name}"] = parameter.grad.double().norm().numpy()
            losses.append(float(loss.detach()))
            optimizer.step()
            average.update()
        arrays["losses"] = np.array(losses)
        for (name, parameter), mean in zip(named.items(), average.shadow_params, strict=True):
            end = parameter.detach()
            arrays[f"norm/{name}"] = end.double().norm().numpy()
            changes = {"moved": end.double() - start[name], "gap": mean.double() - end}
            for what, change in changes.items():
                arrays[f"{what}/{name}"] = change.norm().numpy()
                arrays[f"{what}probe/{name}"] = probes(name, change.numpy())
        with self.torch.no_grad():
            for name, parameter in named.items():
                parameter.copy_(start[name])
        return arrays

    def _draws(self, u: np.ndarray | None = None, eps: np.ndarray | None = None):
        """A context in which the public code draws these."""
        return mock.patch.multiple(
            self.torch,
            rand=lambda *_, **__: self.torch.from_numpy(u),
            randn_like=lambda *_, **__: self.tensor(eps),
        )


def na2d(q, k, v, kernel: int, scale: float):
    """Neighbourhood attention of (n, h, w, heads, e), window by window, some rows at a time."""
    import torch

    def windows(length):
        """Which places the window of each place holds."""
        start = (torch.arange(length) - kernel // 2).clamp(0, length - kernel)
        return start[:, None] + torch.arange(kernel)

    def attended(q, rows):
        places = rows[:, None, :, None], columns[None, :, None, :]
        keys, values = (x[:, places[0], places[1]] for x in (k, v))
        weights = torch.einsum("nhwae,nhwijae->nhwaij", q, keys) * scale
        weights = weights.flatten(-2).softmax(-1).unflatten(-1, (kernel, kernel))
        return torch.einsum("nhwaij,nhwijae->nhwae", weights, values)

    rows, columns = windows(q.shape[1]), windows(q.shape[2])
    firsts = range(0, q.shape[1], ROWS)
    return torch.cat([attended(q[:, i : i + ROWS], rows[i : i + ROWS]) for i in firsts], dim=1)


def _replace_modules(repository: Path) -> None:
    """Make the checkout importable."""
    import torch

    os.environ["K_DIFFUSION_USE_COMPILE"] = "0"

    class Module(torch.nn.Module):
        """LightningModule without a trainer."""

        def __init_subclass__(cls, **settings):
            pass

    mixin = type("Mixin", (), {"__init_subclass__": lambda **settings: None})
    replace_module("natten", has_fused_na=lambda: True, functional=SimpleNamespace(na2d=na2d))
    replace_module("timm")
    replace_module("timm.models")
    replace_module(
        "timm.models.layers",
        DropPath=lambda rate: torch.nn.Identity(),
        to_2tuple=lambda x: x if isinstance(x, tuple) else (x, x),
        trunc_normal_=torch.nn.init.trunc_normal_,
    )
    replace_module("wandb")
    replace_module("pytorch_lightning", LightningModule=Module)
    replace_module("torchmetrics")
    replace_module("torchmetrics.image", FrechetInceptionDistance=None, InceptionScore=None)
    replace_module("torchvision")
    replace_module("torchvision.transforms")
    replace_module("torchvision.transforms.functional", to_pil_image=None)
    replace_module("torchvision.utils", save_image=None)
    replace_module("huggingface_hub", PyTorchModelHubMixin=mixin)
    sys.path.insert(0, str(repository))
    replace_module("utils.img_utils", create_grid=None)


def _networks(hdit: HDiT, swinir: SwinIR) -> tuple[Any, Any]:
    """Both networks by the public code, of the sizes of ours."""
    from utils.create_arch import create_hdit_model, create_swinir_model

    return (
        create_hdit_model(
            widths=hdit.widths,
            depths=hdit.depths,
            self_attns=[
                {"type": "neighborhood", "d_head": hdit.head_dim, "kernel_size": kernel}
                if kernel
                else {"type": "global", "d_head": hdit.head_dim}
                for kernel in hdit.kernels
            ],
            dropout_rate=[0] * len(hdit.widths),
            mapping_depth=hdit.mapping_depth,
            mapping_width=hdit.mapping_width,
            mapping_dropout_rate=0.0,
            in_channels=3,
            out_channels=3,
            patch_size=[hdit.patch, hdit.patch],
        ),
        create_swinir_model(
            in_channels=3,
            out_channels=3,
            embed_dim=swinir.width,
            depths=list(swinir.depths),
            num_heads=[swinir.heads] * len(swinir.depths),
            resi_connection="1conv",
            sf=8,
        ),
    )


def _flow(model, estimator, sigma_s: float):
    """The public Lightning module around these networks, without a trainer."""
    import torch
    from lightning_models.mmse_rectified_flow import MMSERectifiedFlow

    made = MMSERectifiedFlow.__new__(MMSERectifiedFlow)
    torch.nn.Module.__init__(made)
    made.hparams = SimpleNamespace(
        stage="flow",
        conditional=False,
        mmse_noise_std=sigma_s,
        eps=0.0,
        t_schedule="stratified_uniform",
        lr=5e-4,
        weight_decay=1e-2,
        betas=(0.9, 0.95),
    )
    made.trainer, made.device = SimpleNamespace(global_rank=0, world_size=1), torch.device("cpu")
    made.log = lambda name, value: None
    made.model, made.mmse_model, made.ema = model, estimator.requires_grad_(False).eval(), None
    return made
