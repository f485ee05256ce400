"""The running average, with a decay that ramps up over 2000 updates."""

import copy
import math

import torch

RAMP = 2000


class ModelEMA:
    """Averages what is trained; ``model`` holds the result."""

    def __init__(self, model, device, decay=0.999, updates=0):
        self.model = copy.deepcopy(model).to(device).requires_grad_(False)
        self.decay, self.updates = decay, updates

    @torch.no_grad()
    def update(self, model):
        self.updates += 1
        keep = self.decay * (1 - math.exp(-self.updates / RAMP))
        for mean, new in zip(self.model.parameters(), model.parameters(), strict=True):
            if new.requires_grad:
                mean.mul_(keep).add_(new, alpha=1 - keep)
