"""The settings of XLA's CPU compiler; they must be made before the first program is compiled.

XLA fuses matrix products with what is around them into calls of the library YNNPACK. The small
products of Winograd's form and of the RRDB then keep fewer cores busy than XLA's own. Training is
faster with the library (docs/performance.md).
"""

import importlib.metadata
import os

OWN_PRODUCTS = "--xla_cpu_experimental_ynn_fusion_type="  # none of the kinds of fusion
TRIED = ("0.10.2", "0.11.2")  # jaxlib; another may not know the flag and end the process


def keep_cores_busy() -> None:
    """Add the flag to ``XLA_FLAGS``; what the user has set there comes later, and wins."""
    given = os.environ.get("XLA_FLAGS", "")
    known = importlib.metadata.version("jaxlib") in TRIED
    if known and OWN_PRODUCTS.rstrip("=") not in given:
        os.environ["XLA_FLAGS"] = f"{OWN_PRODUCTS} {given}".strip()
