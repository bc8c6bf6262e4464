"""Precision of matrix products: where it is reduced, for how long, and that settings of the caller are restored."""

import pytest
import torch

from medinr import precision as module
from medinr.errors import ConfigError
from medinr.precision import EXACT_BELOW, Precision, has_fast_bfloat16, reduced_products

CPU = torch.device("cpu")


def flags() -> tuple[str, ...]:
    return torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision


@pytest.fixture(autouse=True)
def flags_are_restored():
    before = flags()
    yield
    after = flags()
    torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision = before
    assert after == before


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def fast(request, monkeypatch) -> bool:
    monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: request.param)
    return request.param


@pytest.mark.parametrize(
    ("capabilities", "wanted"), [({"amx_bf16": True}, True), ({"amx_bf16": False}, False), ({"neon": True}, False)]
)
def test_processors_with_matrix_tiles_are_fast(monkeypatch, capabilities, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert has_fast_bfloat16(CPU) is wanted


def test_an_older_torch_without_capabilities_is_slow(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert has_fast_bfloat16(CPU) is False
    assert not Precision("auto", CPU, 1.0).reduced


@pytest.mark.parametrize(("capability", "wanted"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_graphics_processors_are_fast_from_a_generation_on(monkeypatch, capability, wanted):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert has_fast_bfloat16(torch.device("cuda")) is wanted


def test_other_devices_are_slow():
    assert has_fast_bfloat16(torch.device("meta")) is False


def test_auto_is_float32_where_bfloat16_is_not_fast(fast):
    precision, before = Precision("auto", CPU, 1.0), flags()
    assert precision.reduced is fast
    with precision.products(float("inf")):
        assert (flags() == ("bf16", "tf32")) is fast
        assert (flags() == before) is not fast
    assert flags() == before


def test_float32_is_float32_everywhere(fast):
    precision, before = Precision("float32", CPU, 1.0), flags()
    with precision.products(1e9):
        assert flags() == before


def test_it_becomes_exact_once_and_stays_exact(monkeypatch):
    monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: True)
    scale = 3.0
    limit = EXACT_BELOW**2 * scale
    precision, before, reduced = Precision("auto", CPU, scale), flags(), []
    for error in (float("inf"), scale, 1.01 * limit, 0.99 * limit, 1.01 * limit, scale, float("inf")):
        with precision.products(error):
            reduced.append(flags() != before)
    assert reduced == [True, True, True, False, False, False, False]


def test_a_target_of_zero_is_fitted_exactly(monkeypatch):
    monkeypatch.setattr(module, "has_fast_bfloat16", lambda device: True)
    precision = Precision("auto", CPU, 0.0)
    with precision.products(0.0):
        assert flags()[0] != "bf16"


@pytest.mark.parametrize("setting", ["ieee", "tf32", "bf16"])
def test_flags_are_restored_after_an_exception(setting):
    torch.backends.mkldnn.matmul.fp32_precision = setting
    before = flags()
    with pytest.raises(ZeroDivisionError), reduced_products():
        1 / (flags() != ("bf16", "tf32"))
    assert flags() == before
    torch.backends.mkldnn.matmul.fp32_precision = "none"


@pytest.mark.parametrize("level", ["highest", "high", "medium"])
def test_what_the_caller_set_with_the_older_interface_is_unchanged(level):
    try:
        torch.set_float32_matmul_precision(level)
        with reduced_products():
            assert flags() == ("bf16", "tf32")
        assert torch.get_float32_matmul_precision() == level
        assert torch.backends.cuda.matmul.allow_tf32 is (level != "highest")
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.mkldnn.matmul.fp32_precision = torch.backends.cuda.matmul.fp32_precision = "none"


def test_what_the_caller_set_with_the_newer_interface_is_no_error():
    # torch raises when the older flag is read after this.
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with reduced_products():
            pass
        assert flags()[1] == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.skipif(not has_fast_bfloat16(CPU), reason="needs a processor with matrix tiles")
def test_reduced_products_are_rounded_to_eight_bits_and_summed_in_float32():
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    rounded = a.bfloat16().double() @ b.bfloat16().double()
    with reduced_products():
        found = (a @ b).double()
    torch.testing.assert_close(found, rounded, rtol=0, atol=1e-4)
    assert float((found - a.double() @ b.double()).abs().max()) > 1e-2
    torch.testing.assert_close((a @ b).double(), a.double() @ b.double(), rtol=0, atol=1e-4)


def test_unknown_precision():
    with pytest.raises(ConfigError, match="'half' is not one of auto, float32"):
        Precision("half", CPU, 1.0)
