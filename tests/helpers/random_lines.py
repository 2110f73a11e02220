"""Command lines that nobody wrote, of the arguments of one Megatron-LM version.

Half of them are drawn from all arguments. The other half are drawn from what one rule of a checkout reads: the
arguments that stand in the condition of a refusal or an assignment, and the constants they are compared with. So rules
are reached that nobody here knows of.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from bridge_args.dev.authority import definition
from bridge_args.megatron_lm.catalog import Argument, Catalog
from bridge_args.megatron_lm.derive.registry import CORE_CONFIG, TRANSFORMER_CONFIG, VALIDATE_ARGS

# Arguments that ask for a file, a package, other hardware or another kind of run; not what is compared here.
LEFT_OUT = (
    "rl_", "grpo_", "langrl_", "inference_", "export_", "modelopt", "yaml_cfg", "perform_rl_step", "help", "kitchen_",
    "heterogeneous_", "result_rejected_tracker_filename", "te_precision_config_file", "replication", "msc", "spec",
    "non_persistent", "use_legacy_models", "enable_gpt_oss", "checkpoint_activations", "batch_size", "warmup",
    "model_parallel_size", "fake_process_group", "use_checkpoint_args", "phase_transition", "local_rank", "enable_msc",
    "enable_ft_package", "retro_", "dsa_kernel_backend", "batch_invariant_backend",
)  # fmt: skip
BASE = {
    "--num-layers": "8", "--hidden-size": "64", "--num-attention-heads": "8", "--seq-length": "128",
    "--max-position-embeddings": "128", "--micro-batch-size": "1", "--global-batch-size": "16", "--train-iters": "10",
    "--lr": "1e-3", "--eval-interval": "10", "--tokenizer-type": "NullTokenizer", "--vocab-size": "100",
    "--mock-data": "",
}  # fmt: skip
# Where Megatron-LM refuses and settles what a command line means.
RULES = (
    VALIDATE_ARGS, CORE_CONFIG, TRANSFORMER_CONFIG,
    "megatron/core/transformer/transformer_config.py::MLATransformerConfig.__post_init__",
    "megatron/core/model_parallel_config.py::ModelParallelConfig.__post_init__",
    "megatron/core/optimizer/optimizer_config.py::OptimizerConfig.__post_init__",
    "megatron/core/distributed/distributed_data_parallel_config.py::DistributedDataParallelConfig.__post_init__",
)  # fmt: skip

Rule = tuple[tuple[str, ...], tuple[str, ...]]  # names of arguments, and texts of constants


def lines(checkout: str, catalog: Catalog, count: int, seed: int) -> list[list[str]]:
    """Command lines of the base and some arguments more, with values that fit their types."""
    pool = [a for a in catalog.arguments if not a.dest.startswith(LEFT_OUT) and a.requires != "nvidia_kitchen"]
    by_name: dict[str, list[Argument]] = {}
    for argument in pool:
        by_name.setdefault(argument.dest, []).append(argument)
    rules = [rule for rule in rules_of(checkout) if not by_name.keys().isdisjoint(rule[0])]
    rng = random.Random(seed)
    drawn = []
    for number in range(count):
        chosen, constants = rng.sample(pool, rng.randint(1, 6)), ()
        if number % 2 and rules:
            names, constants = rng.choice(rules)
            named = [name for name in names if name in by_name and rng.random() < 0.7]
            chosen = [rng.choice(by_name[name]) for name in named] + chosen[:2]
        drawn.append([*base(), *(word for argument in chosen for word in words(rng, argument, constants))])
    return drawn


def base() -> list[str]:
    """What every command line begins with."""
    return [word for pair in BASE.items() for word in pair if word]


def words(rng: random.Random, argument: Argument, constants: tuple[str, ...] = ()) -> Iterator[str]:
    """An argument as it could be typed."""
    yield rng.choice(argument.flags)
    if argument.action == "store":
        count = argument.nargs if isinstance(argument.nargs, int) else rng.choice((1, 2)) if argument.nargs else 1
        yield from (value(rng, argument, constants) for _ in range(count))


def value(rng: random.Random, argument: Argument, constants: tuple[str, ...]) -> str:
    """One that fits the type; by preference one that a rule compares with."""
    if argument.choices or argument.members:
        return str(rng.choice(argument.choices or argument.members or ()))
    if argument.type == "int":
        fitting = [text for text in constants if text.isdecimal()]
        return rng.choice([*fitting, *"0 1 2 4 8 64 128".split()])
    if argument.type == "float":
        return rng.choice(("0", "0.1", "0.5", "1.0", "2"))
    if argument.type == "bool":
        return rng.choice(("", "yes"))
    return rng.choice([*(text for text in constants if text and not text.isdecimal()), "1", "2", "text"])


def rules_of(checkout: str) -> list[Rule]:
    """What each refusal and each assignment of a checkout reads, where it stands."""
    found: dict[Rule, None] = {}
    for see in RULES:
        function = definition(Path(checkout), see)
        if isinstance(function, ast.FunctionDef):
            found.update(dict.fromkeys(_below(function.body, ())))
    return list(found)


def _below(body: Iterable[ast.stmt], above: tuple[ast.AST, ...]) -> Iterator[Rule]:
    for node in body:
        if isinstance(node, ast.If):
            yield from _below(node.body, (*above, node.test))
            yield from _below(node.orelse, (*above, node.test))
        elif isinstance(node, (ast.For, ast.With, ast.Try)):
            yield from _below(node.body, above)
        else:
            read = (*above, node.test) if isinstance(node, ast.Assert) else (*above, node)
            names = {n.attr: None for tree in read for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
            texts = {
                str(n.value): None
                for tree in read
                if not isinstance(tree, ast.Raise)
                for n in ast.walk(tree)
                if isinstance(n, ast.Constant) and isinstance(n.value, (str, int)) and len(str(n.value)) < 30
            }
            yield tuple(names), tuple(text for text in texts if " " not in text)
