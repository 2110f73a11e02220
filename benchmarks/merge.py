"""Speed and memory of ``bridge-args checkpoint merge-lora``, next to copying the same files.

    python benchmarks/merge.py [--gib 2] [--runs 3] [--folder DIR] [--rank 16] [--targets all] [--cold] [--with-peft]

Makes a random model of that size in bfloat16, in shards of 512 MiB, and an adapter for it. Merging and copying run in
turn, each in a process of its own, and each until the last byte is on disk. ``ratio`` is the speed of merging to that
of copying, both without the start of Python and torch; the whole command with its checks is told beside. ``memory`` is
the peak of the process less that of one that has only imported torch, in sizes of the largest tensor. A copy hardly
needs a processor: on a machine that is busy with other things look at the seconds of processors.

``hashed`` is a copy with the SHA-256 of what it copies, as a merge has that of what it reads and of what it writes.

Without --cold the base is in memory when it is read, as only a small model is; with it the system is asked to forget
it before every run (posix_fadvise(2)), so that it comes from the disk, as a model does that is larger than the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HIDDEN, MLP, VOCABULARY, SHARD = 2048, 5632, 32000, 512 << 20
LAYER = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN // 4, HIDDEN),
    "self_attn.v_proj": (HIDDEN // 4, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (MLP, HIDDEN),
    "mlp.up_proj": (MLP, HIDDEN),
    "mlp.down_proj": (HIDDEN, MLP),
}
TARGETS = {"attention": ("q_proj", "k_proj", "v_proj", "o_proj"), "all": tuple(name.split(".")[1] for name in LAYER)}
IDLE = "import torch; from bridge_args.convert.provenance import peak_memory; print(peak_memory())"
COPY = """
import os, shutil, sys, time
from pathlib import Path
from bridge_args.convert.output import new_folder
source = Path(sys.argv[1])
start, worked = time.perf_counter(), time.process_time()
with new_folder(Path(sys.argv[2])) as folder:
    for file in sorted(source.iterdir()):
        shutil.copyfile(file, folder / file.name)
print(time.perf_counter() - start, time.process_time() - worked)
"""
HASHED = COPY.replace("shutil.copyfile(file, folder / file.name)", "hashed(file, folder / file.name)").replace(
    "source =",
    """
import hashlib
def hashed(source, target):
    held, sha = memoryview(bytearray(1 << 19)), hashlib.sha256()
    with open(source, "rb", buffering=0) as read, open(target, "xb", buffering=0) as written:
        while count := read.readinto(held):
            sha.update(held[:count])
            written.write(held[:count])
source =""",
)
PEFT = """
import sys, time, torch, transformers, peft
from bridge_args.convert.provenance import peak_memory
start = time.perf_counter()
model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype="auto")
peft.PeftModel.from_pretrained(model, sys.argv[2]).merge_and_unload().save_pretrained(sys.argv[3])
print(time.perf_counter() - start, peak_memory())
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--targets", choices=sorted(TARGETS), default="all")
    parser.add_argument("--folder", type=Path, help="where the models lie; default: a temporary folder")
    parser.add_argument("--cold", action="store_true", help="the base is read from the disk in every run")
    parser.add_argument("--with-peft", action="store_true", help="the same with peft, which must be installed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="merge-") as folder:
        measure(Path(folder), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    largest = make(folder, options.gib, options.rank, TARGETS[options.targets])
    base, adapter, result = folder / "base", folder / "adapter", folder / "result"
    size = sum(file.stat().st_size for file in base.iterdir())
    idle = int(process([sys.executable, "-c", IDLE]))
    print(f"base {size / 2**30:.2f} GiB, largest tensor {largest / 2**20:.0f} MiB, torch alone {idle / 2**20:.0f} MiB")
    found: dict[str, list[float]] = {"copy": [], "hashed": [], "merge": [], "command": [], "peak": []}
    processor: dict[str, list[float]] = {"copy": [], "hashed": [], "merge": []}
    forget = forgotten if options.cold else lambda folder: None
    for _ in range(options.runs):
        for name, program in (("copy", COPY), ("hashed", HASHED)):
            forget(base)
            clock, worked = map(float, process([sys.executable, "-c", program, str(base), str(result)]).split())
            found[name].append(clock)
            processor[name].append(worked)
            shutil.rmtree(result)
        forget(base)
        begun = time.perf_counter()
        words = ["checkpoint", "merge-lora", str(adapter), "--base", str(base), "-o", str(result), "--no-smoke"]
        process([sys.executable, "-m", "bridge_args", *words])
        found["command"].append(time.perf_counter() - begun)
        told = json.loads((result / "conversion.json").read_text())["merge"]
        found["merge"].append(told["seconds"])
        found["peak"].append(told["peak"])
        processor["merge"].append(told["processor"])
        shutil.rmtree(result)
    copy, hashed, merge, command, peak = (statistics.median(numbers) for numbers in found.values())
    speed = size / 2**30
    for name, seconds in (("copy", copy), ("hashed", hashed), ("merge", merge)):
        each = ", ".join(f"{one:.2f}" for one in found[name])
        worked = statistics.median(processor[name])
        print(f"{name:<7} {seconds:6.2f} s  {speed / seconds:5.2f} GiB/s  {worked:5.2f} s of processors   ({each})")
    print(f"ratio   {copy / merge:6.2f}, {hashed / merge:.2f} of a copy that is hashed")
    print(f"memory  {(peak - idle) / 2**20:6.0f} MiB above torch: {(peak - idle) / largest:.2f} of the largest tensor")
    print(f"command {command:6.2f} s, with its start and its checks but the run of the model")
    if options.with_peft:
        seconds, used = map(float, process([sys.executable, "-c", PEFT, str(base), str(adapter), str(result)]).split())
        print(f"peft    {seconds:6.2f} s, {(used - idle) / 2**20:.0f} MiB above torch")


def forgotten(folder: Path) -> None:
    """What the system holds of these files in memory is written, and given back."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def process(words: list[str]) -> str:
    done = subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:6])} failed")
    return done.stdout


def make(folder: Path, gib: float, rank: int, targets: tuple[str, ...]) -> int:
    """A base in ``base``, an adapter in ``adapter``; the bytes of the largest tensor."""
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    import tiny_models
    import torch

    base, adapter = folder / "base", folder / "adapter"
    base.mkdir()
    adapter.mkdir()
    a_layer = sum(rows * columns for rows, columns in LAYER.values())
    layers = max(1, round((gib * 2**30 / 2 - 2 * VOCABULARY * HIDDEN) / a_layer))
    names: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    low: dict[str, Any] = {}
    for layer in range(layers):
        for name, (rows, columns) in LAYER.items():
            names[f"model.layers.{layer}.{name}.weight"] = (rows, columns)
            if name.endswith(targets):
                whole = f"base_model.model.model.layers.{layer}.{name}"
                low[f"{whole}.lora_A.weight"] = torch.randn(rank, columns) * 0.02
                low[f"{whole}.lora_B.weight"] = torch.randn(rows, rank) * 0.02
        for norm in ("input_layernorm", "post_attention_layernorm"):
            names[f"model.layers.{layer}.{norm}.weight"] = (HIDDEN,)
    names |= {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}
    _save_shards(base, names)
    _configure(base, adapter, layers, rank, targets)
    from safetensors.torch import save_file

    save_file(low, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    tiny_models.tokenizer(base)
    os.sync()
    return VOCABULARY * HIDDEN * 2


def _save_shards(base: Path, names: dict[str, tuple[int, ...]]) -> None:
    import torch
    from safetensors.torch import save_file

    shards: list[dict[str, tuple[int, ...]]] = [{}]
    size = total = 0
    for name, shape in names.items():
        bytes = torch.Size(shape).numel() * 2
        if size + bytes > SHARD:
            shards.append({})
            size = 0
        shards[-1][name] = shape
        size, total = size + bytes, total + bytes
    placed = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        numbers = {name: (torch.randn(shape) * 0.02).bfloat16() for name, shape in shard.items()}
        save_file(numbers, base / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def _configure(base: Path, adapter: Path, layers: int, rank: int, targets: tuple[str, ...]) -> None:
    model = dict(
        architectures=["LlamaForCausalLM"],
        model_type="llama",
        torch_dtype="bfloat16",
        hidden_size=HIDDEN,
        intermediate_size=MLP,
        num_hidden_layers=layers,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=VOCABULARY,
    )
    (base / "config.json").write_text(json.dumps(model))
    config = dict(
        peft_type="LORA", r=rank, lora_alpha=32, target_modules=list(targets), base_model_name_or_path=str(base)
    )
    (adapter / "adapter_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    main()
