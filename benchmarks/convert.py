"""Memory and time of ``bridge-args checkpoint import`` and ``export``, next to those of Bridge's AutoBridge alone.

    python benchmarks/convert.py [--gib 2] [--folder DIR]

Makes a random model of that size in bfloat16. AutoBridge's own ``import_ckpt`` and ``export_ckpt`` run on the emulated
CPU as ours do, each in a process of its own. The peak is that of the largest process, ``ratio`` ours to AutoBridge's.
Ours also looks at what it reads and what it has made, without running the model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import merge

ALONE = """
import sys, time
from pathlib import Path
from bridge_args.emulation import device, placeholders

def main(action, model, checkpoint, target):
    device.install(transformer_engine=True)
    device.prepare_megatron_core()
    from bridge_args import foreign
    from bridge_args.convert.provenance import peak_memory
    from bridge_args.emulation import te_layers
    te_layers.keep_extra_states()
    with placeholders.absent_packages():
        auto = foreign.AUTO_BRIDGE.get()
    begun = time.perf_counter()
    with placeholders.fused_functions():
        if action == "import":
            auto.import_ckpt(model, target)
        else:
            auto.from_hf_pretrained(model).export_ckpt(checkpoint, target, show_progress=False)
    Path(sys.argv[5]).write_text(f"{peak_memory()} {time.perf_counter() - begun}")

if __name__ == "__main__":
    main(*sys.argv[1:5])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2)
    parser.add_argument("--folder", type=Path, help="where the models lie; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="convert-") as folder:
        measure(Path(folder), options.gib)


def measure(folder: Path, gib: float) -> None:
    merge.make(folder, gib, 4, ())
    base = folder / "base"
    size = sum(file.stat().st_size for file in base.glob("*.safetensors"))
    print(f"model {size / 2**30:.2f} GiB")
    (folder / "alone.py").write_text(ALONE)
    for action, source, words in (
        ("import", base, [str(base)]),
        ("export", folder / "imported-ours", [str(folder / "imported-ours"), "--hf-model", str(base)]),
    ):
        ours, alone = folder / f"{action}ed-ours", folder / f"{action}ed-alone"
        begun = time.perf_counter()
        run(["-m", "bridge_args", "checkpoint", action, *words, "-o", str(ours), "--device", "cpu"], action)
        taken = time.perf_counter() - begun
        told = json.loads(next(ours.rglob("conversion.json")).read_text())
        checkpoint = next(iter(sorted(source.glob("iter_*"))), source)
        answer = folder / f"{action}.txt"
        run([str(folder / "alone.py"), action, str(base), str(checkpoint), str(alone), str(answer)], action)
        peak, seconds = map(float, answer.read_text().split())
        print(f"{action}: AutoBridge {peak / 2**30:6.2f} GiB {seconds:7.1f} s")
        print(
            f"        ours       {told['peak_memory_bytes'] / 2**30:6.2f} GiB {taken:7.1f} s, with its start and checks"
        )
        print(f"        ratio      {told['peak_memory_bytes'] / peak:6.2f} of the memory", flush=True)


def run(words: list[str], action: str) -> None:
    """Into a file: processes that save a checkpoint may hold a pipe longer than they live."""
    words += ["--no-smoke"] if action == "export" and words[0] == "-m" else []
    with tempfile.TemporaryFile("w+") as said:
        done = subprocess.run([sys.executable, *words], cwd=merge.ROOT, stdout=said, stderr=said)
        if done.returncode:
            said.seek(0)
            raise SystemExit(f"{' '.join(words[:5])} failed:\n{said.read()[-3000:]}")


if __name__ == "__main__":
    main()
