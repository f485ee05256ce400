"""``train.py --compile-for CHIP:SHAPE``: compile the step for TPUs that are not there, and stop."""

import os
from pathlib import Path
from typing import Any

from absl import flags

from elir_jax.commands import frame
from elir_jax.errors import UserError


def compile_for(config: Any, workdir: Path | None) -> int | None:
    """Compile and report if the flag asks for it; otherwise None. Raises UserError."""
    topology = flags.FLAGS["compile-for"].value
    if not topology:
        return None
    frame.refuse_to_join("--compile-for")
    if config is None:
        raise UserError("no configuration; give one with --config configs/NAME.py")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # no device of this machine is used
    from elir_jax.compose.compiled import step_report  # here: they load jax
    from elir_jax.compose.compiling import compile_step_for, share

    per_chip = share(topology, config.batch_size)
    found = compile_step_for(topology, config, per_chip)
    print(step_report(topology, config, per_chip, found), flush=True)
    return 0
