"""The stand-in for Transformer Engine's FusedAdam: PyTorch's AdamW is the judge of fp32, formats are what they hold."""

from __future__ import annotations

from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")

from bridge_args.emulation.fused_adam import MASTER, FusedAdam, joined, parted  # noqa: E402  # needs PyTorch

WHOLE = {"master_weights": True, "use_decoupled_grad": True}


def gradient(step: int) -> Any:
    return torch.randn(64, 8, generator=torch.Generator().manual_seed(step))


def trained(steps: int, **options: Any) -> tuple[Any, FusedAdam]:
    parameter = torch.nn.Parameter(gradient(99).bfloat16())
    optimizer = FusedAdam([parameter], lr=1e-2, weight_decay=0.1, **options)
    for step in range(steps):
        parameter.decoupled_grad = gradient(step)
        optimizer.step()
    return parameter, optimizer


def by_pytorch(steps: int) -> Any:
    parameter = torch.nn.Parameter(gradient(99).bfloat16().float())
    optimizer = torch.optim.AdamW([parameter], lr=1e-2, weight_decay=0.1)
    for step in range(steps):
        parameter.grad = gradient(step)
        optimizer.step()
    return parameter.detach()


def test_a_number_is_its_half_and_the_rest() -> None:
    numbers = torch.randn(5000) * torch.logspace(-30, 30, 5000)
    half, rest = parted(numbers)
    assert (half.dtype, rest.dtype) == (torch.bfloat16, torch.int16)
    assert torch.equal(joined(half, rest), numbers)
    assert ((half.float() - numbers).abs() <= numbers.abs() * 2**-8).all()  # rounded, not cut


def test_fp32_master_weights_are_those_of_adamw() -> None:
    parameter, optimizer = trained(20, **WHOLE)
    assert torch.equal(optimizer.state[parameter][MASTER], by_pytorch(20))
    assert torch.equal(parameter, by_pytorch(20).bfloat16())
    parameter, optimizer = trained(20, **WHOLE, store_param_remainders=True)
    assert optimizer.state[parameter][MASTER].dtype == torch.int16
    assert torch.equal(joined(parameter, optimizer.state[parameter][MASTER]), by_pytorch(20))


@pytest.mark.parametrize(
    ("dtype", "stored", "off"),
    [
        pytest.param(torch.float16, torch.float16, 1e-3, id="fp16"),
        pytest.param(torch.bfloat16, torch.bfloat16, 1e-2, id="bf16"),
        pytest.param(torch.uint8, torch.float8_e4m3fn, 1e-1, id="fp8"),
    ],
)
def test_moments_in_fewer_bits(dtype: Any, stored: Any, off: float) -> None:
    parameter, optimizer = trained(20, **WHOLE, exp_avg_dtype=dtype, exp_avg_sq_dtype=dtype)
    assert {optimizer.state[parameter][name].dtype for name in ("exp_avg", "exp_avg_sq")} == {stored}
    wrong = (optimizer.state[parameter][MASTER] - by_pytorch(20)).abs().max()
    assert 0 < wrong < off


def test_small_moments_are_scaled() -> None:
    """fp16 alone would lose squares of small gradients."""
    parameter, optimizer = trained(1, **WHOLE, exp_avg_sq_dtype=torch.float16)
    parameter.decoupled_grad = gradient(1) * 1e-8
    optimizer.set_scaled_state(parameter, "exp_avg_sq", gradient(1).square() * 1e-16)
    kept = optimizer.get_unscaled_state(parameter, "exp_avg_sq")
    assert kept == pytest.approx(gradient(1).square() * 1e-16, rel=1e-2, abs=1e-21)


def test_state_is_saved_and_loaded() -> None:
    formats = {"exp_avg_dtype": torch.float16, "exp_avg_sq_dtype": torch.bfloat16, "master_weight_dtype": torch.float16}
    parameter, optimizer = trained(3, **WHOLE, **formats)
    saved = optimizer.state_dict()
    assert {value.dtype for value in saved["state"][0].values()} == {torch.float32}
    other, loaded = trained(1, **WHOLE, **formats)
    loaded.load_state_dict(saved)
    for name in optimizer.state[parameter]:
        assert torch.equal(loaded.get_unscaled_state(other, name), optimizer.get_unscaled_state(parameter, name))
        assert loaded.state[other][name].dtype == optimizer.state[parameter][name].dtype
    assert loaded.param_groups[0]["step"] == 3
