"""Run the user's own checkout of the PyTorch release on given images, noise and times.

Its networks, losses and average are imported from the user's folder; this project contains none of
them. Their results are recorded under the names of docs/numerics.md, which
``elir_jax.parity.recording`` compares.
"""

import copy
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np

from elir_jax.errors import UserError
from elir_jax.parity.arrays import Arrays
from elir_jax.parity.probes import probes
from elir_jax.parity.recording import kind_of
from elir_jax.weights.layouts import Source
from elir_jax.weights.sizes import Sizes

LOSSES = ("fm_loss", "cfm_loss", "l2_fm_loss", "l2_fm_mse_loss", "l2_cfm_loss", "l2_cfm_mse_loss")
SMALL = 10_000  # entries; gradients up to this size are recorded completely
TRAJECTORY = 10  # updates
# The updates before them: so the decay, which ramps up over 2000 updates, is 0.92. At the start of
# the ramp the average could not be distinguished from the parameters.
EMA_UPDATES = 5000


def default_settings(num_steps: int, sigma_s: float) -> dict:
    """Settings of both sides: the release's, for K steps and a source noise, except for AdamW's.

    AdamW's eps is large, so that gradient entries that are only rounding are not divided by
    themselves. Its weight decay is large, so that ten updates show it.
    """
    return {
        "k_steps": num_steps,
        "sigma_s": sigma_s,
        "sigma_min": 1e-5,
        "alpha": 1e-3,
        "dt": 0.05,
        "beta": 1e-3,
        "lr": 1e-4,
        "weight_decay": 1.0,
        "betas": [0.9, 0.999],
        "eps": 1e-4,
        "ema_decay": 0.999,
        "ema_updates": EMA_UPDATES,
    }


class Checkout:
    """The release's networks with the weights of ``source``.

    Raises UserError if torch or the checkout cannot be imported, or if the weights do not fit.
    """

    def __init__(self, repository: Path, source: Source, sizes: Sizes, settings: dict):
        try:
            import torch
        except ImportError as error:
            raise UserError(
                "comparing with a checkout needs torch; pip install torch, or use --golden"
            ) from error
        self.torch, self.sizes, self.kind = torch, sizes, kind_of(sizes)
        unet, mmse = sizes.velocity, sizes.estimator
        channels = sizes.autoencoder.latent_channels
        self.config = settings | {
            "unet": {
                "ch_mult": list(unet.channel_multipliers),
                "n_mid_blocks": unet.num_mid_blocks,
                "in_channels": channels,
                "hid_channels": unet.hidden,
                "out_channels": channels,
                "t_emb_dim": unet.time_dim,
            },
            "mmse": {"c_inout": channels, "c_hid": mmse.hidden, "n_rrdb": mmse.num_blocks},
            "torch": torch.__version__,
        }
        expanded = {"overparametrization": self.kind == "over"}
        try:
            lunet, rrdbnet, taesd, losses, averages = _import(
                repository,
                "models.lunet",
                "models.rrdbnet",
                "models.taesd",
                "training.losses",
                "training.ema_timm",
            )
            autoencoder = taesd.TAESD(pretrained=False, latent_channels=channels)
            model = torch.nn.Module()
            model.fmir = lunet.LUnet(**self.config["unet"], **expanded)
            model.mmse = rrdbnet.RRDBNet(**self.config["mmse"], **expanded)
            model.enc, model.dec = autoencoder.encoder, autoencoder.decoder
            tensors = {n: torch.from_numpy(np.array(a)) for n, a in source.tensors.items()}
            model.load_state_dict(tensors)
        except (AttributeError, TypeError, RuntimeError) as error:
            said = " ".join(str(error).split()).split(". ")  # torch names each tensor that misfits
            more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
            raise UserError(
                f"{repository}: its networks cannot load {source.path}: {said[0].rstrip('.')}{more}"
            ) from error
        self.model, self.losses, self.average = model, losses, averages.ModelEMA

    def restoration(self, x_lq: np.ndarray, eps: np.ndarray) -> Arrays:
        """Every stage of restoring ``x_lq`` (b, h, w, 3) with unit noise ``eps``."""
        torch, model, kind = self.torch, self.model, self.kind
        num_steps = self.config["k_steps"]
        arrays = {"lq": x_lq, "eps_infer": eps, "config": np.array(json.dumps(self.config))}
        with torch.no_grad():
            latent = model.enc(self._tensor(x_lq))
            mmse = model.mmse(latent)
            z = mmse + self.config["sigma_s"] * self._tensor(eps)
            arrays |= {"latent": latent, f"mmse_{kind}": mmse, "z0": z}
            for k in range(num_steps):
                v = model.fmir(z, self._embed(torch.tensor([k / num_steps])))
                z = z + (1 / num_steps) * v
                arrays |= {f"v{k}_{kind}": v, f"z{k + 1}_{kind}": z}
            arrays[f"decoded_{kind}"] = model.dec(z)
            times = torch.linspace(0, 1, 7)
            arrays |= {"pos_emb_t": times, "pos_emb": self._embed(times)}
        return {name: self._array(value) for name, value in arrays.items()}

    def training(self, x_hq: np.ndarray, x_lq: np.ndarray, draws: Arrays) -> Arrays:
        """Losses, gradients and a trajectory; ``draws`` has ``loss_*`` and ``traj_*`` noise."""
        torch, model = self.torch, self.model
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not name.startswith("dec."))
        pretrained = SimpleNamespace(
            encoder=copy.deepcopy(model.enc).requires_grad_(False), decoder=model.dec
        )
        pair = self._tensor(x_hq), self._tensor(x_lq)
        with torch.no_grad():
            arrays = {"hq": x_hq, "latent_hq": model.enc(pair[0]), **draws}

        def loss(name: str, u: np.ndarray, eps: np.ndarray):
            noise, times = self._tensor(eps), torch.from_numpy(u).reshape(-1, 1, 1, 1)
            teacher = () if name in ("fm_loss", "cfm_loss") else (pretrained,)
            settings = self.config | {"t_emb_dim": self.config["unet"]["t_emb_dim"]}
            with (
                mock.patch.object(torch, "randn_like", lambda *_, **__: noise),
                mock.patch.object(torch, "rand", lambda *_, **__: times),
            ):
                return getattr(self.losses, name)(model, *pair, settings, *teacher)

        for name in LOSSES:
            arrays[f"{name}_{self.kind}"] = loss(name, draws["loss_u"], draws["loss_eps"]).detach()

        loss("l2_cfm_loss", draws["loss_u"], draws["loss_eps"]).backward()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                gradient = parameter.grad.numpy()
                arrays[f"gradprobe_{self.kind}/{name}"] = probes(name, gradient)
                if parameter.numel() <= SMALL:
                    arrays[f"grad_{self.kind}/{name}"] = gradient.copy()
        return {
            name: self._array(a) for name, a in (arrays | self._trajectory(loss, draws)).items()
        }

    def _trajectory(self, loss, draws: Arrays) -> Arrays:
        torch, model, config = self.torch, self.model, self.config
        start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=config["lr"],
            betas=tuple(config["betas"]),
            eps=config["eps"],
            weight_decay=config["weight_decay"],
        )
        average = self.average(
            model, "cpu", decay=config["ema_decay"], updates=config["ema_updates"]
        )
        values = []
        for u, eps in zip(draws["traj_u"], draws["traj_eps"], strict=True):
            optimizer.zero_grad()
            value = loss("l2_cfm_loss", u, eps)
            value.backward()
            optimizer.step()
            average.update(model)
            values.append(float(value.detach()))
        arrays = {f"traj_loss_{self.kind}": np.array(values)}
        averaged = average.model.state_dict()
        for name, end in model.state_dict().items():
            changes = {"traj": end.double() - start[name], "ema": averaged[name].double() - end}
            for what, change in changes.items():
                arrays[f"{what}probe_{self.kind}/{name}"] = probes(name, change.numpy())
        model.load_state_dict(start)
        return arrays

    def _embed(self, t):
        return self.losses.pos_emb(t, self.config["unet"]["t_emb_dim"])

    def _tensor(self, array: np.ndarray):
        """NHWC -> the release's NCHW."""
        return self.torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))

    def _array(self, value) -> np.ndarray:
        """NCHW -> NHWC; arrays without four axes stay as they are."""
        if not isinstance(value, self.torch.Tensor):
            return value
        array = value.detach().numpy()
        return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def draw_noise(seed: int, batch: int, latent: tuple[int, int, int]) -> Arrays:
    """Noise and uniform times of the losses and of the trajectory."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((1 + TRAJECTORY, batch, *latent), np.float32)
    times = rng.random((1 + TRAJECTORY, batch), np.float32)
    return {
        "loss_eps": noise[0],
        "loss_u": times[0],
        "traj_eps": noise[1:],
        "traj_u": times[1:],
    }


def _import(repository: Path, *names: str):
    if not (repository / "ELIR").is_dir():
        raise UserError(f"{repository}: has no folder ELIR; name a checkout of the release")
    sys.path.insert(0, str(repository.resolve()))
    try:
        return [importlib.import_module(f"ELIR.{name}") for name in names]
    except ImportError as error:
        raise UserError(
            f"{repository}: cannot be imported ({error}); install its requirements"
        ) from error
    finally:
        sys.path.pop(0)
