"""Run in a process of its own: model families of the installed Bridge that need code of their own.

``python -m bridge_args.dev.families_probe OUTPUT`` writes what ``bridge_args/bridge/families/VERSION.json`` holds: of
every class its fields, as far as they are not those of the generic class that it is made from.
"""

from __future__ import annotations

import importlib.util
import json
import pathlib
import sys
from typing import Any, Final

from bridge_args.bridge.names import name_of
from bridge_args.checkout.placeholders import stand_in
from bridge_args.dev.schema_probe import _NEVER_IMPORTED, _STAND_INS, _Description, _load
from bridge_args.newer_python import add_what_is_missing

# Families whose class does something that no setting of the generic class says; of each what a version has.
FAMILIES: Final = {
    "gemma.gemma_provider": "GemmaModelProvider",
    "gemma.gemma2_provider": "Gemma2ModelProvider",
    "gemma.gemma3_provider": "Gemma3ModelProvider",
    "gpt_oss.gpt_oss_provider": "GPTOSSProvider",
    "llama.llama_provider": "Llama4ModelProvider",
    "llama_nemotron.llama_nemotron_provider": "LlamaNemotronHeterogeneousProvider",
}


def main(argv: list[str]) -> None:
    """See the module's text."""
    import torch._inductor.runtime.triton_heuristics  # noqa: F401  (settles for no triton before the placeholder)

    add_what_is_missing()
    stand_in(_STAND_INS)
    stand_in(_NEVER_IMPORTED, always=True)
    import megatron.bridge

    described = _Description()
    families: dict[str, Any] = {}
    base = name_of("GPT model", megatron.bridge.__version__.partition("+")[0])
    generic = described._fields(_load(base))
    for module, class_name in FAMILIES.items():
        name = f"megatron.bridge.models.{module}.{class_name}"
        found = _fields(described, name)
        if found is not None:
            own = {field: entry for field, entry in found.items() if generic.get(field) != entry}
            families[name] = {"base": base, "fields": own}
    version = megatron.bridge.__version__.partition("+")[0]
    pathlib.Path(argv[0]).write_text(json.dumps({"version": version, "classes": families}), encoding="utf-8")


def _fields(described: _Description, name: str) -> dict[str, Any] | None:
    module = name.rpartition(".")[0]
    try:
        if importlib.util.find_spec(module) is None:
            return None
        return described._fields(_load(name))
    except (ModuleNotFoundError, AttributeError):
        return None


if __name__ == "__main__":
    main(sys.argv[1:])
