"""The velocity network: a U-Net of convolutions with a time embedding."""

import torch
from torch import nn
from torch.nn import functional as F

GROUPS = 32


class NormConv(nn.Module):
    """GroupNorm, SiLU, convolution (or two)."""

    def __init__(self, into, out, wide):
        super().__init__()
        convs = [nn.Conv2d(into, 4 * out, 3, padding=1), nn.Conv2d(4 * out, out, 1)]
        if not wide:
            convs = [nn.Conv2d(into, out, 3, padding=1)]
        self.block = nn.Sequential(nn.GroupNorm(GROUPS, into), nn.SiLU(), *convs)

    def forward(self, x):
        return self.block(x)


class Residual(nn.Module):
    """Two of them, the time between, and a 1x1 shortcut."""

    def __init__(self, into, out, time, wide):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, out))
        self.block1, self.block2 = NormConv(into, out, wide), NormConv(out, out, wide)
        self.conv2d = nn.Conv2d(into, out, 1)

    def forward(self, x, time):
        shift = self.mlp(time)[:, :, None, None]
        return self.conv2d(x) + self.block2(self.block1(x) + shift)


class Named(nn.Module):
    """A module under a name, as the state dict wants it."""

    def __init__(self, name, module):
        super().__init__()
        self.name = name
        self.add_module(name, module)

    def forward(self, x):
        return self.get_submodule(self.name)(x)


class Time(nn.Module):
    """Two linear maps with SiLU between."""

    def __init__(self, into, out):
        super().__init__()
        self.linear1, self.linear2 = nn.Linear(into, out), nn.Linear(out, out)

    def forward(self, embedding):
        return self.linear2(F.silu(self.linear1(embedding)))


class LUnet(nn.Module):
    """(latent, embedded time) to velocity."""

    def __init__(
        self,
        ch_mult=(1, 2, 1, 2),
        n_mid_blocks=3,
        in_channels=16,
        hid_channels=128,
        out_channels=16,
        t_emb_dim=160,
        overparametrization=False,
    ):
        super().__init__()
        time, width = 4 * t_emb_dim, hid_channels

        def residual(into, out):
            return Residual(into, out, time, overparametrization)

        self.time_mlp = Time(t_emb_dim, time)
        self.first_proj = nn.Conv2d(in_channels, width, 1)
        self.down_blocks, self.mid_blocks = nn.ModuleList(), nn.ModuleList()
        self.up_blocks = nn.ModuleList()
        for multiplier in ch_mult:
            pair = [residual(width, width), nn.Identity()]
            if multiplier > 1:
                wider = nn.Conv2d(width, multiplier * width, 3, stride=2, padding=1)
                pair[1] = Named("conv", wider)
            self.down_blocks.append(nn.ModuleList(pair))
            width *= multiplier
        for _ in range(n_mid_blocks):
            self.mid_blocks.append(residual(width, width))
        for multiplier in reversed(ch_mult):
            up = nn.Identity()
            if multiplier > 1:
                narrower = nn.ConvTranspose2d(width, width // multiplier, 4, stride=2, padding=1)
                up = Named("convtr", narrower)
            width //= multiplier
            self.up_blocks.append(nn.ModuleList([up, residual(2 * width, width)]))
        self.final_block = NormConv(width, width, overparametrization)
        self.final_proj = nn.Conv2d(width, out_channels, 1)

    def forward(self, z, embedding):
        time = self.time_mlp(embedding)
        h, kept = self.first_proj(z), []
        for block, down in self.down_blocks:
            kept.append(block(h, time))
            h = down(kept[-1])
        for block in self.mid_blocks:
            h = block(h, time)
        for up, block in self.up_blocks:
            h = block(torch.cat([up(h), kept.pop()], dim=1), time)
        return self.final_proj(self.final_block(h))
