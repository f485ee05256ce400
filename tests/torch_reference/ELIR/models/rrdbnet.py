"""The latent MMSE estimator: residual-in-residual dense blocks."""

import torch
from torch import nn


class Conv(nn.Module):
    """A 3x3 convolution, or a 3x3 and a 1x1 one."""

    def __init__(self, into, out, wide):
        super().__init__()
        if wide:
            self.block = nn.Sequential(
                nn.Conv2d(into, 4 * out, 3, padding=1), nn.Conv2d(4 * out, out, 1)
            )
        else:
            self.block = nn.Sequential(nn.Conv2d(into, out, 3, padding=1))

    def forward(self, x):
        return self.block(x)


class Dense(nn.Module):
    """Five convolutions, each of all that came before it."""

    def __init__(self, channels, hidden, wide):
        super().__init__()
        for i in range(1, 6):
            out = channels if i == 5 else hidden
            self.add_module(f"conv{i}", Conv(channels + (i - 1) * hidden, out, wide))

    def forward(self, x):
        seen = x
        for i in range(1, 5):
            h = self.get_submodule(f"conv{i}")(seen)
            seen = torch.cat([seen, h * h.sigmoid()], dim=1)
        return x + 0.2 * self.conv5(seen)


class Cascade(nn.Module):
    """Three dense blocks."""

    def __init__(self, channels, hidden, wide):
        super().__init__()
        for i in range(1, 4):
            self.add_module(f"RDB{i}", Dense(channels, hidden, wide))

    def forward(self, x):
        return x + 0.2 * self.RDB3(self.RDB2(self.RDB1(x)))


class RRDBNet(nn.Module):
    """Latent to latent of the posterior mean."""

    def __init__(self, c_inout=16, c_hid=96, n_rrdb=3, overparametrization=False):
        super().__init__()
        blocks = [Cascade(c_inout, c_hid, overparametrization) for _ in range(n_rrdb)]
        self.lrm = nn.Sequential(*blocks)

    def forward(self, z):
        return z + self.lrm(z)
