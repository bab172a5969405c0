"""For scripts written for pydensecrf: the same classes and functions, on DenseLab's filters.

    import pydensecrf.densecrf as dcrf          becomes    import denselab.crf.pydensecrf as dcrf
    from pydensecrf.utils import ...            becomes    from denselab.crf.pydensecrf.utils import ...

Parameters mean the same. The spatial term runs on the lattice, as it does there, so that label maps agree; DenseLab's
own `DenseCRF` has a filter without the lattice's error. Learning (LogisticUnary, gradients) is not included.
"""

from denselab.crf.pydensecrf import densecrf, utils
from denselab.crf.pydensecrf.densecrf import (
    CONST_KERNEL,
    DIAG_KERNEL,
    FULL_KERNEL,
    NO_NORMALIZATION,
    NORMALIZE_AFTER,
    NORMALIZE_BEFORE,
    NORMALIZE_SYMMETRIC,
    ConstUnary,
    DenseCRF,
    DenseCRF2D,
)

__all__ = [
    "CONST_KERNEL",
    "DIAG_KERNEL",
    "FULL_KERNEL",
    "NORMALIZE_AFTER",
    "NORMALIZE_BEFORE",
    "NORMALIZE_SYMMETRIC",
    "NO_NORMALIZATION",
    "ConstUnary",
    "DenseCRF",
    "DenseCRF2D",
    "densecrf",
    "utils",
]
