"""``torchrun … -m bridge_args.pretrain_hybrid <the arguments of pretrain_hybrid.py>``: the drop-in for hybrid models.

From Megatron-LM 0.18 on; ``pretrain_mamba`` is the same for older ones.
"""

from __future__ import annotations

import sys

from bridge_args.drop_in.main import main
from bridge_args.training import ranks

if __name__ == "__main__":
    sys.exit(main(program="pretrain_hybrid.py"))
if __name__ == "__mp_main__":
    ranks.end_with_parent()  # see pretrain_gpt.py
