#!/bin/bash
# Makes a fork to try this example with: a copy of a Megatron-LM checkout, and two flags more.
#     ./make_fork.sh CHECKOUT FOLDER
set -euo pipefail
checkout=$1 folder=$2

mkdir "$folder"
cp -r "$checkout/megatron" "$checkout"/*.py "$folder"
cat >> "$folder/megatron/training/arguments.py" <<'PYTHON'


_megatron_arguments = add_megatron_arguments


def add_megatron_arguments(parser):
    """What Megatron-LM has, and what is ours."""
    parser = _megatron_arguments(parser)
    group = parser.add_argument_group("ours")
    group.add_argument("--router-noise", type=float, default=None, help="jitter on the input of the router")
    group.add_argument("--run-owner", type=str, default=None, help="whom to ask about the run")
    return parser
PYTHON
