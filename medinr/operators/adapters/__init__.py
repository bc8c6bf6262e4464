"""Operators of other libraries as operators of medinr, and the other way round.

Your own code  `from_callable`
SciPy          `to_scipy`, `from_scipy`
SigPy          `to_sigpy`, `from_sigpy`
DeepInverse    `to_deepinv`, `from_deepinv`

A library is imported when its adapter is called, never before. ``docs/operators.md`` has an example of each.
"""

from medinr.operators.adapters.callables import FromCallable, from_callable
from medinr.operators.adapters.deepinv_bridge import from_deepinv, to_deepinv
from medinr.operators.adapters.scipy_bridge import from_scipy, to_scipy
from medinr.operators.adapters.sigpy_bridge import from_sigpy, to_sigpy

__all__ = [
    "FromCallable",
    "from_callable",
    "from_deepinv",
    "from_scipy",
    "from_sigpy",
    "to_deepinv",
    "to_scipy",
    "to_sigpy",
]
