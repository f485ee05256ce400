"""Record tests/golden/pmrf.npz with a checkout of PMRF (ohayonguy/PMRF).

Command: python tests/torch_reference/record_pmrf.py PMRF   (needs torch, einops)

Its networks run as they are. NATTEN and timm, which it imports, are stood in for: neighbourhood
attention is gathered here, window by window, and drop path is off.
"""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "support"), str(HERE)]

import pmrf_golden as golden  # noqa: E402

SMALL = 600  # entries; larger gradients are recorded by their norm alone


def windows(length: int, kernel: int) -> torch.Tensor:
    """Which places the window of each place holds."""
    start = (torch.arange(length) - kernel // 2).clamp(0, length - kernel)
    return start[:, None] + torch.arange(kernel)


def na2d(q, k, v, kernel, scale):
    """Neighbourhood attention of (n, h, w, heads, e), window by window."""
    rows, columns = windows(q.shape[1], kernel), windows(q.shape[2], kernel)
    places = (rows[:, None, :, None], columns[None, :, None, :])
    k, v = (x[:, places[0], places[1]] for x in (k, v))  # n, h, w, kernel, kernel, heads, e
    weights = (torch.einsum("nhwae,nhwijae->nhwaij", q, k) * scale).flatten(-2).softmax(-1)
    return torch.einsum("nhwaij,nhwijae->nhwae", weights.unflatten(-1, (kernel, kernel)), v)


def public_networks(repository: Path) -> dict[str, torch.nn.Module]:
    """The networks of ``pmrf_golden``, built by the public code."""
    os.environ["K_DIFFUSION_USE_COMPILE"] = "0"
    natten = ModuleType("natten")
    natten.has_fused_na, natten.functional = lambda: True, SimpleNamespace(na2d=na2d)
    layers = ModuleType("timm.models.layers")
    layers.DropPath = lambda rate: torch.nn.Identity()
    layers.to_2tuple = lambda x: x if isinstance(x, tuple) else (x, x)
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    sys.modules |= {"natten": natten, "timm": ModuleType("timm"), "timm.models.layers": layers}
    sys.modules["timm.models"] = ModuleType("timm.models")
    sys.path.insert(0, str(repository))
    from utils.create_arch import create_hdit_model, create_swinir_model

    hdit, swinir = golden.NETWORKS["hdit"], golden.NETWORKS["swinir"]
    return {
        "hdit": create_hdit_model(
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
        "swinir": create_swinir_model(
            in_channels=3,
            out_channels=3,
            embed_dim=swinir.width,
            depths=list(swinir.depths),
            num_heads=[swinir.heads] * len(swinir.depths),
            resi_connection="1conv",
            sf=8,
        ),
    }


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


def main() -> None:
    """Both networks into one file."""
    arrays = {}
    for part, network in public_networks(Path(sys.argv[1]).resolve()).items():
        arrays |= record(part, network)
    np.savez_compressed(golden.GOLDEN, **arrays)
    print(f"wrote {golden.GOLDEN}: {golden.GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
