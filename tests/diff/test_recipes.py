"""What the recipes hold whose model Bridge asks Hugging Face for: the numbers that Bridge's own classes have too.

Bridge 0.3.1 has both a class of the model (``Llama3ModelProvider8B``) and a recipe that reads ``config.json``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge_args.bridge import choices, installed, providers, schema
from bridge_args.dev import recipes as maker
from bridge_args.diff import nearest
from bridge_args.secret_names import is_secret

VERSION = "0.3.1"
MODELS: dict[str, dict[str, Any]] = yaml.safe_load(
    (Path(maker.__file__).parent / "hf_configs.yaml").read_text(encoding="utf-8")
)
FROM_BRIDGE = f"Megatron Bridge {VERSION} "
# What a class says otherwise than config.json, and why that is right.
KNOWN = {
    "init_method_std": "classes say what the model was trained with, config.json what transformers begins with",
    "kv_channels": "of multi-latent attention, which does not read it",
    "layernorm_epsilon": "Qwen 2.5 of 14B and more: see `disagree`",
    "max_position_embeddings": "of rotary embeddings, which do not read it",
    "moe_aux_loss_coeff": "Moonlight: the converter of the recipe has a coefficient of its own",
    "mtp_num_layers": "the recipe asks for it",
    "vocab_size": "Moonlight: see `disagree`",
}
_SAID = re.compile(r"^ *(?:- )?(\w+): (.+)$", re.MULTILINE)
IN_ALL = {"num_layers", "hidden_size", "ffn_hidden_size"}
# Set for the way of running, by the recipe.
RUNNING = set(
    "apply_rope_fusion async_tensor_model_parallel_allreduce autocast_dtype bf16 bias_activation_fusion "
    "bias_dropout_fusion cross_entropy_fusion_impl cross_entropy_loss_fusion fp16 gradient_accumulation_fusion "
    "make_vocab_size_divisible_by masked_softmax_fusion moe_flex_dispatcher_backend moe_grouped_gemm "
    "moe_permute_fusion moe_shared_expert_overlap moe_token_dispatcher_type params_dtype persist_layer_norm "
    "seq_length".split()
)


def pairs() -> list[tuple[str, str]]:
    """Recipes of 0.3.1 with the class of their model."""
    classes = {name.rpartition(".")[2]: name for name in providers.of_version(VERSION)}
    found = []
    for recipe, text in nearest._held(VERSION)[0].items():
        model = next((line.split()[1] for line in text.splitlines() if line.startswith("  hf_model_id: ")), "")
        for source in MODELS.get(model, {"sources": []})["sources"]:
            if source.removeprefix(FROM_BRIDGE) in classes:
                found.append((recipe, classes[source.removeprefix(FROM_BRIDGE)]))
    return found


def test_forty_recipes_have_a_class_of_their_model() -> None:
    assert len(pairs()) >= 40


@pytest.mark.parametrize(("recipe", "provider"), pairs(), ids=[one.rpartition(".")[2] for one, _ in pairs()])
def test_a_recipe_and_the_class_have_the_same_numbers(recipe: str, provider: str) -> None:
    text = nearest._held(VERSION)[0][recipe]
    model = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["model"]
    values = providers.of_version(VERSION)[provider].values
    assert IN_ALL <= values.keys()
    numbers = {name: value for name, value in values.items() if name in model and name not in RUNNING}
    differing = {name: (value, model[name]) for name, value in numbers.items()
                 if isinstance(value, (int, float, str, list)) and value != model[name]}  # fmt: skip
    assert differing.keys() <= KNOWN.keys(), differing


@pytest.mark.parametrize("bridge", sorted(path.name.removesuffix(".json.gz") for path in nearest.FOLDER.iterdir()))
def test_what_recipes_of_bridge_say_is_taken_and_is_no_secret(bridge: str) -> None:
    known, recipes = schema.load(bridge), nearest._held(bridge)[0]
    refused, secrets = set(), set()
    for text in recipes.values():
        config: dict[str, dict[str, Any]] = {}
        for path, value in nearest._lines(text).items():
            section, _, name = path.partition(".")
            config.setdefault(section, {})[name] = value
        refused |= set(choices.wrong(config, known))
        secrets |= {name for name, value in _SAID.findall(text) if value != "null" and is_secret(name)}
    assert not refused and not secrets


@pytest.mark.parametrize("model", MODELS)
def test_a_model_says_where_its_numbers_are_from(model: str) -> None:
    entry = MODELS[model]
    assert entry["sources"] and entry["config"]["architectures"] and entry["config"]["model_type"]
    assert not {"auto_map", "quantization_config"} & entry["config"].keys()


@pytest.mark.skipif(not os.environ.get("BRIDGE_ARGS_RECIPES"), reason="builds every recipe; BRIDGE_ARGS_RECIPES=all")
def test_the_installed_bridge_makes_what_is_shipped() -> None:
    file = nearest.FOLDER / f"{installed.version()}.json.gz"
    if not file.is_file():
        pytest.skip("no Bridge is installed whose recipes are shipped")
    assert maker.content(maker.from_installed()) == file.read_bytes()
