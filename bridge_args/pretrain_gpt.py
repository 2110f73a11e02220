"""``torchrun … -m bridge_args.pretrain_gpt <the arguments of pretrain_gpt.py>``: the drop-in (``drop_in/main.py``).

It is started as Megatron-LM's program is: by torchrun or ft_launcher, by srun with one task a rank, or alone.
``BRIDGE_ARGS_CPU=1`` in the environment asks for the CPU emulation that ``bridge-args rehearse`` uses;
``BRIDGE_ARGS_TRACEBACK=1`` shows the traceback of a save that failed, which otherwise is one message.
"""

from __future__ import annotations

import sys

from bridge_args.drop_in.main import main
from bridge_args.training import ranks

if __name__ == "__main__":
    sys.exit(main())
if __name__ == "__mp_main__":
    # A process that a rank has spawned: that of Megatron Core's queue of saves would outlive a killed rank for ever,
    # and hold on to its output (megatron/core/dist_checkpointing/strategies/filesystem_async.py).
    ranks.end_with_parent()
