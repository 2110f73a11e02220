"""torch's own parser is the judge of torchrun's options."""

from __future__ import annotations

import pytest

from bridge_args.script.command import read_command
from bridge_args.script.programs import LAUNCHERS

run = pytest.importorskip("torch.distributed.run")


def test_torchruns_options() -> None:
    known = LAUNCHERS["torchrun"]
    valued, switches = set(), set()
    for action in run.get_args_parser()._actions:
        names = {option[2:].replace("-", "_") for option in action.option_strings if option.startswith("--")}
        (switches if action.nargs == 0 else valued).update(names)
        for option in action.option_strings:
            if not option.startswith("--"):
                assert known.short[option[1:]] in names
    # Older and newer torch have a few more or less; what this one has must be known.
    assert valued <= known.valued
    assert switches <= known.switches


@pytest.mark.parametrize(
    "line",
    [
        "--nproc-per-node 8 --nnodes=2 --node_rank 1 --master-addr h --master_port 6000 a.py --nnodes 3",
        "--standalone --nproc-per-node=gpu --tee 3 -r 1 -m pkg.module x",
        "--rdzv-backend c10d --rdzv-id 1 --rdzv-endpoint h:1 --nnodes 1:4 --max-restarts 3 a.py",
        "--no-python --nproc_per_node 2 ./program a b",
        "--nproc-per 2 --master_a host a.py",
    ],
)
def test_torchrun_reads_the_same(line: str) -> None:
    expected = run.get_args_parser().parse_args(line.split())
    command = read_command(["torchrun", *line.split()])
    assert command.program == expected.training_script
    assert [word.text for word in command.argv] == expected.training_script_args
    for name, value in command.launcher_options.items():
        assert str(getattr(expected, name)) == str(value) or (value == 1 and getattr(expected, name) is True)
