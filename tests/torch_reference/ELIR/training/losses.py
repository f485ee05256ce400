"""The six losses, with the target of the consistency term from the network that is trained."""

import math

import torch


def pos_emb(t, dim):
    """Cosines, then sines, of 1000 t at ``dim / 2`` frequencies from 1 down to 1/10000."""
    half = dim // 2
    steps = torch.arange(half).float() * -(math.log(10000) / (half - 1))
    phase = (1000 * t.reshape(-1, 1)) * steps.exp().reshape(1, -1)
    return torch.cat([phase.cos(), phase.sin()], dim=-1)


def _square(a, b):
    return ((a - b) ** 2).mean()


class _Flow:
    """A pair on the path from a noisy estimate to the original's latent."""

    def __init__(self, model, z_mmse, z_hq, cfg):
        self.model, self.cfg, self.z_1 = model, cfg, z_hq
        self.z_0 = z_mmse.detach() + cfg["sigma_s"] * torch.randn_like(z_mmse)
        self.rest = 1 - cfg["sigma_min"]

    def at(self, t):
        return (1 - self.rest * t) * self.z_0 + t * self.z_1

    def velocity(self, z, t):
        return self.model.fmir(z, pos_emb(t.flatten(), self.cfg["t_emb_dim"]))

    def matching(self):
        """(loss, the end of the path that the velocity points to)."""
        t = torch.rand([len(self.z_0), 1, 1, 1])
        z_t = self.at(t)
        v = self.velocity(z_t, t)
        return _square(v, self.z_1 - self.rest * self.z_0), z_t + (1 - t) * v

    def consistency(self):
        """(loss, the end of the segment that the velocity points to, that end's time)."""
        cfg = self.cfg
        t = (1 - cfg["dt"]) * torch.rand([len(self.z_0), 1, 1, 1])
        knots = torch.linspace(0, 1, cfg["k_steps"] + 1)
        end = knots[torch.searchsorted(knots, t, side="left").clamp(min=1)]
        r = t + cfg["dt"]
        z_t, z_r = self.at(t), self.at(r)
        v = self.velocity(z_t, t)
        with torch.no_grad():
            v_r = self.velocity(z_r, r)
        z_end = z_t + (end - t) * v
        target = torch.where(r < end, z_r + (end - r) * v_r, self.at(end))
        return _square(z_end, target) + cfg["alpha"] * _square(v, v_r), z_end, end


def _latents(model, x_hq, x_lq, teacher):
    with torch.no_grad():
        z_hq = teacher.encoder(x_hq)
    return model.mmse(model.enc(x_lq)), z_hq


def fm_loss(model, x_hq, x_lq, cfg):
    with torch.no_grad():
        z_mmse, z_hq = model.mmse(model.enc(x_lq)), model.enc(x_hq)
    return _Flow(model, z_mmse, z_hq, cfg).matching()[0]


def cfm_loss(model, x_hq, x_lq, cfg):
    with torch.no_grad():
        z_mmse, z_hq = model.mmse(model.enc(x_lq)), model.enc(x_hq)
    return _Flow(model, z_mmse, z_hq, cfg).consistency()[0]


def l2_fm_loss(model, x_hq, x_lq, cfg, teacher):
    z_mmse, z_hq = _latents(model, x_hq, x_lq, teacher)
    return _square(z_hq, z_mmse) + _Flow(model, z_mmse, z_hq, cfg).matching()[0]


def l2_fm_mse_loss(model, x_hq, x_lq, cfg, teacher):
    z_mmse, z_hq = _latents(model, x_hq, x_lq, teacher)
    flow, z_1 = _Flow(model, z_mmse, z_hq, cfg).matching()
    pixel, beta = _square(x_hq, teacher.decoder(z_1)), cfg["beta"]
    return _square(z_hq, z_mmse) + (1 - beta) * flow + beta * pixel


def l2_cfm_loss(model, x_hq, x_lq, cfg, teacher):
    z_mmse, z_hq = _latents(model, x_hq, x_lq, teacher)
    return _square(z_hq, z_mmse) + _Flow(model, z_mmse, z_hq, cfg).consistency()[0]


def l2_cfm_mse_loss(model, x_hq, x_lq, cfg, teacher):
    z_mmse, z_hq = _latents(model, x_hq, x_lq, teacher)
    path = _Flow(model, z_mmse, z_hq, cfg)
    flow, z_end, end = path.consistency()
    z_end = z_end.detach()
    z_1 = z_end + (1 - end) * path.velocity(z_end, end)
    pixel, beta = _square(x_hq, teacher.decoder(z_1)), cfg["beta"]
    return _square(z_hq, z_mmse) + (1 - beta) * flow + beta * pixel
