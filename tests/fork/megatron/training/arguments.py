"""The parser of a made-up fork: what the catalog of 0.16.1 has, and flags of its own; a validation of a few lines."""

import argparse
import enum
import json
import os
import socket
import time
from pathlib import Path

CATALOG = Path(__file__).parents[4] / "bridge_args" / "megatron_lm" / "catalogs" / "0.16.1.json"
CONVERTERS = {"int": int, "float": float, "str": str, "bool": bool}


class Mood(enum.Enum):
    calm = 1
    wild = 2


def pair(text):
    first, second = text.split(":")
    return int(first), int(second)


def parse_args(extra_args_provider):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for entry in json.loads(CATALOG.read_text())["arguments"]:
        if entry.get("requires") == "nvidia_kitchen":
            continue
        kind = entry.get("action", "store")
        named = {"dest": entry["dest"], "default": entry.get("default")}
        if kind in ("store", "append"):
            named["type"] = CONVERTERS.get(entry.get("type", "str"), str)
            named["nargs"] = entry.get("nargs")
            named["choices"] = entry.get("choices")
        elif kind == "store_const":
            named["const"] = entry.get("const")
        action = argparse.BooleanOptionalAction if kind == "BooleanOptionalAction" else kind
        flags = [flag for flag in entry["flags"] if kind != "BooleanOptionalAction" or not flag.startswith("--no-")]
        parser.add_argument(*flags, action=action, **named)
    extra_args_provider(parser)
    args = parser.parse_args()
    args.rank, args.world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return args


def add_own_arguments(parser):
    group = parser.add_argument_group("ours")
    group.add_argument("--router-noise", type=float, default=0.5)
    group.add_argument("--window-pair", type=pair)
    group.add_argument("--mood", type=lambda text: Mood[text], default=Mood.calm)
    group.add_argument("--run-owner")
    group.add_argument("--very-loud", action="count", default=0)
    return parser


def validate_args(args, defaults):
    for name, value in defaults.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.very_loud == 9:
        time.sleep(60)
    if args.very_loud == 8:
        socket.create_connection(("localhost", 9), timeout=1)
    if args.very_loud == 7:
        os._exit(3)
    assert args.router_noise < 1, "--router-noise must be below 1"
    assert args.world_size % args.tensor_model_parallel_size == 0
    if args.sequence_parallel:
        assert os.environ.get("CUDA_DEVICE_MAX_CONNECTIONS") == "1", "CUDA_DEVICE_MAX_CONNECTIONS has to be 1"
    args.data_parallel_size = args.world_size // args.tensor_model_parallel_size
    if args.ffn_hidden_size is None:
        args.ffn_hidden_size = 3 * args.hidden_size  # unlike Megatron-LM, which takes 4
    args.start_weight_decay = args.end_weight_decay = args.weight_decay
    print("a checkout may print what it likes")
