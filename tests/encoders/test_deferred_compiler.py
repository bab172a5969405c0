"""A network with a timm encoder comes without torch's compiler, which is there where something is compiled."""

import subprocess
import sys

import pytest
import torch

from denselab.encoders import deferred_compiler
from denselab.encoders.deferred_compiler import compiler_deferred

OPENED = """
import sys
import torch
disable = torch.compiler.disable
from denselab.engine.spec import Architecture
Architecture("deeplabv3plus", 3, encoder="mobilenetv2_100").create()
Architecture("lraspp_mobilenet_v3_large", 3).create()
print([name for name in ("torch._dynamo", "torch._dynamo.utils", "sympy", "triton", "numba") if name in sys.modules])
print(torch.compiler.disable is disable)
from torchvision.ops.roi_align import is_compile_supported
asked = is_compile_supported("cpu")
import torch._dynamo.utils as utils
print(asked == utils.is_compile_supported("cpu"), utils.__file__.endswith("utils.py"))
print(torch._dynamo.utils is utils is sys.modules["torch._dynamo.utils"])
"""


def test_a_network_is_built_without_the_compiler() -> None:
    """It took 300 MiB and as long as torch itself, and numba 100 MiB for a CRF layer that the network had not."""
    done = subprocess.run([sys.executable, "-c", OPENED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "True", "True True", "True"]


def test_where_the_compiler_is_loaded_nothing_is_replaced() -> None:
    import torch._dynamo.utils as utils

    before = torch.compiler.disable
    with compiler_deferred():
        assert sys.modules["torch._dynamo.utils"] is utils
        assert torch.compiler.disable is before


def test_what_is_marked_not_to_be_compiled_runs_and_keeps_its_name() -> None:
    @deferred_compiler._disable
    def twice(number: int, times: int = 2) -> int:
        """Doubled."""
        return times * number

    @deferred_compiler._disable(recursive=False, reason="why not")
    def once(number: int) -> int:
        return number

    assert (twice.__name__, twice.__doc__) == ("twice", "Doubled.")
    assert [twice(2), twice(2, times=3), once(5)] == [4, 6, 5]


def test_anything_else_asked_of_the_stand_in_is_the_real_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo.utils as utils

    monkeypatch.setitem(sys.modules, deferred_compiler.ASKED, stand_in := deferred_compiler._Utils("asked"))
    with pytest.raises(AttributeError):
        _ = stand_in.__path__
    monkeypatch.setattr(deferred_compiler, "import_module", lambda name: utils)
    assert stand_in.counters is utils.counters
    assert deferred_compiler.ASKED not in sys.modules
