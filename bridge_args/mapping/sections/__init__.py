"""Settings that are chosen as a whole, a module an area; what they have in common is in ``registry.py``.

Each registers its functions when it is imported, here.
"""

from bridge_args.mapping.sections import (
    activation as activation,
)
from bridge_args.mapping.sections import (
    checkpointing as checkpointing,
)
from bridge_args.mapping.sections import (
    communication as communication,
)
from bridge_args.mapping.sections import (
    data as data,
)
from bridge_args.mapping.sections import (
    initialization as initialization,
)
from bridge_args.mapping.sections import (
    layer_spec as layer_spec,
)
from bridge_args.mapping.sections import (
    model_class as model_class,
)
from bridge_args.mapping.sections import (
    observing as observing,
)
from bridge_args.mapping.sections import (
    precision as precision,
)
from bridge_args.mapping.sections import (
    run_length as run_length,
)
from bridge_args.mapping.sections import (
    started as started,
)
from bridge_args.mapping.sections import (
    tokenizer as tokenizer,
)
