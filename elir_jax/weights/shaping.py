"""Our parameters of PMRF's method -> its networks, whose sizes follow from the arrays' shapes."""

import math
import re

from elir_jax.networks.hdit import HDiT
from elir_jax.networks.swinir import SwinIR
from elir_jax.types import Params
from elir_jax.weights.hdit import COLORS, KERNEL
from elir_jax.weights.pmrf import Pmrf, Trained


def is_of_pmrf(params: Params) -> bool:
    """Whether these are parameters of ``pmrf`` or ``posterior_mean``, by top-level name."""
    return "constants" in params or "conv_first" in params.get("estimator", {})


def is_of_latent_pmrf(params: Params) -> bool:
    """Whether the velocity is Latent-PMRF's, which begins with a convolution."""
    return "constants" in params and params["velocity"]["enter"]["kernel"].ndim == 4


def pmrf_of(params: Params) -> Pmrf:
    """The method's networks, or a posterior mean alone, as :func:`write_pmrf` takes them."""
    estimator = None
    if "estimator" in params:
        module = swinir_of(params["estimator"])
        estimator = Trained(module, {"params": params["estimator"]})
    if "velocity" not in params:
        assert estimator is not None
        return Pmrf(estimator)
    variables = {"params": params["velocity"], "constants": params["constants"]}
    return Pmrf(Trained(hdit_of(params["velocity"]), variables), estimator)


def swinir_of(params: Params) -> SwinIR:
    """SwinIR of these parameters."""
    groups = range(_count(params, r"group(\d+)_conv"))
    return SwinIR(
        width=params["conv_first"]["kernel"].shape[-1],
        depths=tuple(_count(params, rf"group{g}_block(\d+)") for g in groups),
        heads=params["group0_block0"]["bias_table"].shape[-1],
        features=params["conv_last"]["kernel"].shape[-2],
    )


def hdit_of(params: Params) -> HDiT:
    """HDiT of PMRF's style of these parameters; only the last level attends to all tokens."""
    levels = range(_count(params, r"merge(\d+)"))
    merges = [params[f"merge{level}"]["kernel"].shape[-1] for level in levels]
    width, leave = params["leave"]["kernel"].shape
    heads = next(
        block["attention"]["scale"].size
        for name, block in params.items()
        if re.fullmatch(r"(down0_|mid)\d+", name)
    )
    return HDiT(
        widths=(width, *merges),
        depths=(
            *(_count(params, rf"down{level}_(\d+)") for level in levels),
            _count(params, r"mid(\d+)"),
        ),
        kernels=(KERNEL,) * len(merges) + (0,),
        head_dim=width // heads,
        patch=math.isqrt(leave // COLORS),
        mapping_width=params["time_in"]["kernel"].shape[-1],
        mapping_depth=_count(params["mapping"], r"up(\d+)"),
        out_channels=COLORS,
    )


def _count(params: Params, pattern: str) -> int:
    return len([name for name in params if re.fullmatch(pattern, name)])
