"""PMRF's public code (ohayonguy/PMRF) on a CPU, from the user's own checkout.

Its networks and its Lightning module run as they are. What they import and a comparison does not
need is stood in for: NATTEN (neighbourhood attention is gathered here, window by window), timm
(drop path is off), Lightning's own machinery, metrics, logging and the hub.
"""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from unittest import mock

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support"), str(HERE)]

ROWS = 8  # of tokens that the stand-in gathers the windows of at once


def windows(length: int, kernel: int) -> torch.Tensor:
    """Which places the window of each place holds."""
    start = (torch.arange(length) - kernel // 2).clamp(0, length - kernel)
    return start[:, None] + torch.arange(kernel)


def na2d(q, k, v, kernel, scale):
    """Neighbourhood attention of (n, h, w, heads, e), window by window, some rows at a time."""
    rows, columns = windows(q.shape[1], kernel), windows(q.shape[2], kernel)
    some = [
        _rows(q[:, first : first + ROWS], k, v, kernel, scale, rows[first : first + ROWS], columns)
        for first in range(0, q.shape[1], ROWS)
    ]
    return torch.cat(some, dim=1)


def _rows(q, k, v, kernel, scale, rows, columns):
    places = (rows[:, None, :, None], columns[None, :, None, :])
    k, v = (x[:, places[0], places[1]] for x in (k, v))  # n, h, w, kernel, kernel, heads, e
    weights = (torch.einsum("nhwae,nhwijae->nhwaij", q, k) * scale).flatten(-2).softmax(-1)
    return torch.einsum("nhwaij,nhwijae->nhwae", weights.unflatten(-1, (kernel, kernel)), v)


def stand_in(repository: Path) -> None:
    """Make the checkout importable."""
    os.environ["K_DIFFUSION_USE_COMPILE"] = "0"

    def module(name, **members):
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)

    class Module(torch.nn.Module):
        """LightningModule without a trainer; PyTorchModelHubMixin."""

        def __init_subclass__(cls, **settings):
            pass

    mixin = type("Mixin", (), {"__init_subclass__": lambda **settings: None})
    module("natten", has_fused_na=lambda: True, functional=SimpleNamespace(na2d=na2d))
    module("timm")
    module("timm.models")
    module(
        "timm.models.layers",
        DropPath=lambda rate: torch.nn.Identity(),
        to_2tuple=lambda x: x if isinstance(x, tuple) else (x, x),
        trunc_normal_=torch.nn.init.trunc_normal_,
    )
    module("wandb")
    module("pytorch_lightning", LightningModule=Module)
    module("torchmetrics")
    module("torchmetrics.image", FrechetInceptionDistance=None, InceptionScore=None)
    module("torchvision")
    module("torchvision.transforms")
    module("torchvision.transforms.functional", to_pil_image=None)
    module("torchvision.utils", save_image=None)
    module("huggingface_hub", PyTorchModelHubMixin=mixin)
    sys.path.insert(0, str(repository))
    module("utils.img_utils", create_grid=None)


def networks(hdit, swinir) -> tuple[torch.nn.Module, torch.nn.Module]:
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


def flow(model, mmse_model, sigma_s: float = 0.1):
    """The public Lightning module around these networks, of stage ``flow``, without a trainer."""
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
    made.model, made.mmse_model, made.ema = model, mmse_model.requires_grad_(False).eval(), None
    return made


def tensor(array: np.ndarray) -> torch.Tensor:
    """NHWC -> NCHW."""
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def array(value: torch.Tensor) -> np.ndarray:
    """Back again."""
    return value.detach().numpy().transpose(0, 2, 3, 1)


def given(u: np.ndarray | None = None, eps: np.ndarray | None = None):
    """A context in which the public code draws these."""
    return mock.patch.multiple(
        torch,
        rand=lambda *_, **__: torch.from_numpy(u),
        randn_like=lambda *_, **__: tensor(eps),
    )
