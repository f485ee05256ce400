"""Record tests/golden/pmrf.npz and pmrf_training.npz with a checkout of PMRF (ohayonguy/PMRF).

Command: python tests/torch_reference/record_pmrf.py PMRF   (needs torch, einops, torch_ema)

The first file has outputs and gradients of its networks; the second what its Lightning module makes
of a pair of pictures: loss, gradients, ten updates with their average, a restoration.
"""

import sys
from pathlib import Path

import numpy as np
import pmrf_golden as golden
import torch

from elir_jax.parity.pmrf_checkout import PmrfCheckout

SMALL = 600  # entries; larger gradients are recorded by their norm alone


def record(part: str, network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Output, loss and gradients; our tensors must be the module's, in its order."""
    assert list(network.state_dict()) == list(golden.tensors(part))
    picture, *times = map(torch.from_numpy, golden.inputs(part))
    out = network(picture.movedim(-1, 1), *times).movedim(1, -1)
    loss = (out * torch.from_numpy(golden.cotangent(part))).mean()
    loss.backward()
    arrays = {f"{part}/out": out.detach().numpy(), f"{part}/loss": loss.detach().numpy()}
    arrays[f"{part}/parameters"] = np.array([name for name, _ in network.named_parameters()])
    for name, parameter in network.named_parameters():
        arrays[f"{part}/gradnorm/{name}"] = parameter.grad.double().norm().numpy()
        if parameter.numel() <= SMALL:
            arrays[f"{part}/grad/{name}"] = parameter.grad.numpy()
    return arrays


def main() -> None:
    """Both files."""
    given = {part: (module, golden.tensors(part)) for part, module in golden.NETWORKS.items()}
    checkout = PmrfCheckout(Path(sys.argv[1]), **given)
    arrays = {}
    for part, network in (("hdit", checkout.model), ("swinir", checkout.estimator)):
        arrays |= record(part, network)
    checkout = PmrfCheckout(Path(sys.argv[1]), **given)
    inputs = golden.training_inputs()
    _, y, _, eps = (rows[0] for rows in inputs)
    training = checkout.restoration(y, eps, golden.STEPS) | checkout.training(*inputs)
    for path, found in ((golden.GOLDEN, arrays), (golden.TRAINING, training)):
        np.savez_compressed(path, **found)
        print(f"wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
