"""The CPU emulation of torch.cuda, each part against PyTorch itself; in fresh processes, because it stays."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")

INSTALL = "from bridge_args.emulation import device\nreplaced = device.install(transformer_engine=True)\nimport torch\n"


def fresh(code: str) -> str:
    """stdout of the code in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "MASTER_PORT")
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def emulated(code: str) -> None:
    fresh(INSTALL + textwrap.dedent(code))


def test_torch_must_not_be_there_before() -> None:
    code = """
    import torch
    from bridge_args.emulation import device
    try:
        device.install()
    except RuntimeError as error:
        print(error)
    """
    assert "before torch is imported" in fresh(textwrap.dedent(code))


def test_it_says_what_it_replaced() -> None:
    listed = fresh(INSTALL + "print(*replaced, sep='\\n')")
    for part in ("NCCL: gloo", "Transformer Engine's layers", "the CPU"):
        assert part in listed


def test_devices() -> None:
    emulated("""
        here = torch.zeros(2)
        for x in (torch.zeros(2, device="cuda"), here.to("cuda:0"), here.cuda(), here.to(0)):
            assert x.device.type == "cpu" and x.is_cuda
        assert torch.zeros(2, pin_memory=True).pin_memory().sum() == 0
        assert torch.zeros(2).half().type() == "torch.cuda.HalfTensor"
        assert torch.cuda.is_available() and torch.cuda.device_count() == 1
        with torch.device(torch.cuda.current_device()):
            torch.zeros(1)
        event = torch.cuda.current_stream().record_event()
        assert event.elapsed_time(torch.cuda.current_stream().record_event()) >= 0
    """)


def test_two_streams_of_random_numbers() -> None:
    """What is drawn for the host does not move what is drawn on the device."""
    emulated("""
        from torch.utils.data import DataLoader
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        next(iter(DataLoader([1, 2, 3])))           # draws its base seed
        assert torch.equal(torch.rand(3, device="cuda"), expected)
        state = torch.cuda.get_rng_state()
        first = torch.rand(3)
        torch.get_rng_state(), torch.cuda.set_rng_state(state)
        assert torch.equal(torch.rand(3), first)
    """)


def test_collectives_finish_when_they_return() -> None:
    emulated("""
        import torch.distributed as dist
        dist.init_process_group("nccl")
        assert dist.get_backend() == "gloo"
        x = torch.ones(4)
        handle = dist.all_reduce(x, op=dist.ReduceOp.AVG, async_op=True)
        assert handle.is_completed() and handle.wait() and torch.equal(x, torch.ones(4))
        parts = [torch.empty(4)]
        assert dist.all_gather(parts, x) is None and torch.equal(parts[0], x)
        dist.barrier(device_ids=[0])
    """)


def test_softmax_kernels() -> None:
    """Forward and backward of the fused softmax, against autograd."""
    emulated("""
        import scaled_masked_softmax_cuda as masked, scaled_upper_triang_masked_softmax_cuda as causal
        x = torch.randn(2, 3, 5, 5, dtype=torch.float64).float().requires_grad_()
        hide = torch.ones(5, 5, dtype=torch.bool).triu(1)
        expected = torch.softmax((x * 0.5).masked_fill(hide, float("-inf")), -1)
        grad = torch.randn_like(expected)
        expected.backward(grad)
        for result in (causal.forward(x.detach(), 0.5), masked.forward(x.detach(), hide, 0.5)):
            torch.testing.assert_close(result, expected.detach())
            torch.testing.assert_close(causal.backward(grad, result, 0.5), x.grad)
    """)


def test_attention() -> None:
    """Causal attention with grouped heads, against PyTorch's own."""
    emulated("""
        import transformer_engine.pytorch as te
        import torch.nn.functional as F
        q, k, v = torch.randn(6, 2, 4, 8), torch.randn(6, 2, 2, 8), torch.randn(6, 2, 2, 8)
        ours = te.DotProductAttention(4, 8, num_gqa_groups=2)(q, k, v)
        b = [x.permute(1, 2, 0, 3) for x in (q, k.repeat_interleave(2, 2), v.repeat_interleave(2, 2))]
        theirs = F.scaled_dot_product_attention(*b, is_causal=True).permute(2, 0, 1, 3).flatten(2)
        torch.testing.assert_close(ours, theirs)
        last = te.DotProductAttention(4, 8, window_size=(0, 0))(q, b[1].permute(2, 0, 1, 3), b[2].permute(2, 0, 1, 3))
        torch.testing.assert_close(last, v.repeat_interleave(2, 2).flatten(2))   # each position sees itself only
    """)


def test_norms() -> None:
    emulated("""
        import transformer_engine.pytorch as te
        x = torch.randn(5, 16)
        torch.testing.assert_close(te.LayerNorm(16)(x), torch.nn.LayerNorm(16)(x))
        torch.testing.assert_close(te.RMSNorm(16)(x), torch.nn.RMSNorm(16, eps=1e-5)(x))
        torch.testing.assert_close(te.LayerNorm(16, zero_centered_gamma=True)(x), torch.nn.LayerNorm(16)(x))
    """)


def test_adam() -> None:
    """Five steps with weight decay: the bits of PyTorch's AdamW and Adam."""
    emulated("""
        from transformer_engine.pytorch.optimizers import FusedAdam
        for decoupled, reference in ((True, torch.optim.AdamW), (False, torch.optim.Adam)):
            ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 9)) for _ in range(2))
            a = FusedAdam([ours], lr=0.01, weight_decay=0.1, adam_w_mode=decoupled)
            b = reference([theirs], lr=0.01, weight_decay=0.1)
            for step in range(5):
                for parameter, optimizer in ((ours, a), (theirs, b)):
                    parameter.grad = torch.cos(parameter.detach() * (step + 1))
                    optimizer.step()
            assert torch.equal(ours, theirs)
    """)


def test_what_is_not_emulated_says_so() -> None:
    emulated("""
        import transformer_engine.pytorch as te
        from transformer_engine.common.recipe import DelayedScaling
        layer = lambda: te.TransformerLayer(8, 8, 2)
        for attempt in (DelayedScaling, layer, te.fp8_autocast(True).__enter__):
            try:
                attempt()
            except NotImplementedError as error:
                assert "is not emulated on the CPU" in str(error)
            else:
                raise AssertionError("accepted")
    """)


def test_a_layer_with_its_norm_gives_an_adapter_what_the_norm_says() -> None:
    """As Transformer Engine's: (out, norm), and (out, bias, norm) where the bias is added by the caller."""
    emulated("""
    from bridge_args.emulation.te_layers import LayerNormLinear
    for return_bias in (False, True):
        layer = LayerNormLinear(8, 4, normalization="RMSNorm", return_bias=return_bias, params_dtype=torch.float32)
        layer._product = lambda x, weight, **ignored: x @ weight.T
        x = torch.randn(3, 8)
        plain = layer(x)
        layer.return_layernorm_output = True
        *before, norm = layer(x)
        assert torch.allclose(norm, x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5), atol=1e-6)
        assert torch.equal(before[0], plain[0] if return_bias else plain)
        assert len(before) == 1 + return_bias
    """)
