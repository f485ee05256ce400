"""TAESD's encoder and decoder, numbered as the release numbers them."""

from torch import nn
from torch.nn import functional as F

WIDTH = 64


class Block(nn.Module):
    """Three convolutions and an identity shortcut."""

    def __init__(self, width):
        super().__init__()
        rest = [m for _ in range(2) for m in (nn.ReLU(), nn.Conv2d(width, width, 3, padding=1))]
        self.conv = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), *rest)

    def forward(self, x):
        return F.relu(x + self.conv(x))


class Double(nn.Module):
    """Nearest-neighbour up-sampling by two."""

    def forward(self, x):
        return x.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)


class Bend(nn.Module):
    """Limits latents to (-3, 3)."""

    def forward(self, z):
        return 3 * (z / 3).tanh()


class Layers(nn.Module):
    """A list of layers under the name ``layers``, after an optional bend without weights."""

    def __init__(self, layers, first=None):
        super().__init__()
        self.first, self.layers = first or nn.Identity(), nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(self.first(x))


class TAESD(nn.Module):
    """Both parts; images in [0, 1]."""

    def __init__(self, pretrained=False, latent_channels=16):
        assert not pretrained
        super().__init__()

        def conv(into=WIDTH, out=WIDTH, **options):
            return nn.Conv2d(into, out, 3, padding=1, **options)

        down, up = [], []
        for _ in range(3):
            blocks = [Block(WIDTH) for _ in range(3)]
            down += [conv(stride=2, bias=False), *blocks]
            blocks = [Block(WIDTH) for _ in range(3)]
            up += [*blocks, Double(), conv(bias=False)]
        self.encoder = Layers([conv(3), Block(WIDTH), *down, conv(out=latent_channels)])
        self.decoder = Layers(
            [conv(latent_channels), nn.ReLU(), *up, Block(WIDTH), conv(out=3)], first=Bend()
        )
