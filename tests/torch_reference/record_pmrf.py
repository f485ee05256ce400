"""Record tests/golden/pmrf.npz and pmrf_training.npz with a checkout of PMRF (ohayonguy/PMRF).

Command: python tests/torch_reference/record_pmrf.py PMRF   (needs torch, einops, torch_ema)

The first file has outputs and gradients of its networks; the second what its Lightning module makes
of a pair of pictures: loss, gradients, ten updates with their average, a restoration.
"""

import sys
from pathlib import Path

import numpy as np
import pmrf_golden as golden
import public_pmrf as public
import torch

SMALL = 600  # entries; larger gradients are recorded by their norm alone


def record(part: str, network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Output, loss and gradients; the file's tensors must be the module's, in its order."""
    tensors = {name: torch.from_numpy(a.copy()) for name, a in golden.tensors(part).items()}
    assert list(network.state_dict()) == list(tensors)
    network.load_state_dict(tensors)
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


def record_training(flow) -> dict[str, np.ndarray]:
    """Loss and gradients, and ten updates in the order of Lightning, the average after each."""
    from torch_ema import ExponentialMovingAverage

    inputs = golden.training_inputs()
    named = dict(flow.model.named_parameters())
    start = {name: tensor.detach().clone() for name, tensor in named.items()}
    optimizer = flow.configure_optimizers()
    average = ExponentialMovingAverage(flow.model.parameters(), decay=0.9999)
    arrays, losses = {}, []
    for x, y, u, eps in zip(*inputs, strict=True):
        optimizer.zero_grad()
        with public.given(u, eps):
            loss = flow.training_step({"x": public.tensor(x), "y": public.tensor(y)}, 0)
        loss.backward()
        if not losses:
            for name, parameter in named.items():
                arrays[f"gradnorm/{name}"] = parameter.grad.double().norm().numpy()
        losses.append(float(loss.detach()))
        optimizer.step()
        average.update()
    arrays["losses"] = np.array(losses)
    for (name, end), mean in zip(named.items(), average.shadow_params, strict=True):
        moved, gap = end.detach().double() - start[name], mean.double() - end.detach()
        arrays[f"norm/{name}"] = end.detach().double().norm().numpy()
        for what, change in (("moved", moved), ("gap", gap)):
            arrays[f"{what}/{name}"] = change.norm().numpy()
            arrays[f"{what}probe/{name}"] = golden.probes(name, change.numpy())
    return arrays


def record_restoration(flow) -> dict[str, np.ndarray]:
    """Posterior mean and Euler states of the first pair."""
    _, y, _, eps = (rows[0] for rows in golden.training_inputs())
    with torch.no_grad(), public.given(eps=eps):
        mean = flow.mmse_model(public.tensor(y)).clip(0, 1)
        restored, states, _ = flow.generate_reconstructions(
            public.tensor(y), public.tensor(y), None, golden.STEPS, torch.device("cpu")
        )
    arrays = {f"z{k}": public.array(state) for k, state in enumerate(states)}
    return arrays | {"mean": public.array(mean), "restored": public.array(restored)}


def main() -> None:
    """Both files."""
    public.stand_in(Path(sys.argv[1]).resolve())
    parts = dict(zip(("hdit", "swinir"), public.networks(**golden.NETWORKS), strict=True))
    arrays = {}
    for part, network in parts.items():
        arrays |= record(part, network)
    flow = public.flow(parts["hdit"], parts["swinir"])
    training = record_restoration(flow) | record_training(flow)
    for path, found in ((golden.GOLDEN, arrays), (golden.TRAINING, training)):
        np.savez_compressed(path, **found)
        print(f"wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
