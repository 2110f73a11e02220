"""What is a secret, and that it is taken out of every text, and of nothing else."""

from __future__ import annotations

import pytest

from bridge_args.megatron_lm import catalog
from bridge_args.secrets import (
    Secret,
    found_in,
    found_in_variables,
    found_in_words,
    holds_secret,
    is_secret,
    masked,
    masked_at,
    masked_values,
)


@pytest.mark.parametrize(
    "name",
    (
        "WANDB_API_KEY HF_TOKEN HUGGING_FACE_HUB_TOKEN AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID MY_SECRET SECRET_THING "
        "dbPassword PGPASSWORD MYSQL_PWD ROOT_PASSWD SSHPASS api_key apiKey NGC_API_KEY COMET_API_TOKEN GH_PAT "
        "AZURE_CLIENT_SECRET DEPLOY_KEY X_TOKEN KEY_PASSPHRASE --hf-token --wandb-api-key password API_KEYS CREDENTIALS"
    ).split(),
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    (
        "MAX_TOKENS TRAIN_TOKENS NUM_TOKENS PAD_TOKEN EOD_TOKEN FIM_PREFIX_TOKEN TOKENIZER_MODEL TOKENIZER TOKENS "
        "KEY KEYS SORT_KEY JSON_KEYS TEXT_KEY KEY_VALUE_HEADS NUM_KEY_VALUE_HEADS KEYBOARD MONKEY PWD OLDPWD PATH "
        "SSH_KEY_PATH TOKEN_FILE --tokenizer-model --moe-token-dispatcher-type --max-tokens-to-oom AUTHOR BYPASS "
        "PASSES NUM_PASS WANDB_PROJECT CACHE_KEY config_key x"
    ).split(),
)
def test_names_of_other_things(name: str) -> None:
    assert not is_secret(name)


def test_no_argument_of_megatron_lm_is_taken_for_a_secret() -> None:
    flags = {flag for version in catalog.versions() for flag in catalog.load(version).by_flag}
    assert len(flags) > 500
    assert [flag for flag in sorted(flags) if is_secret(flag)] == []


STATED = (
    "export WANDB_API_KEY=§",
    "export WANDB_API_KEY='§' PATH=/bin",
    'WANDB_API_KEY="§" torchrun x.py',
    "declare -x HF_TOKEN=§; echo",
    "export HF_TOKEN=${HF_TOKEN:-§}",
    ": ${NGC_API_KEY:=§}",
    "KEYS=(1 2) API_KEYS=(§ )",
    "MY_TOKEN[2]=§",
    "MY_TOKEN+=§",
    "read -r DB_PASSWORD <<< §",
    "printf -v MY_SECRET %s §",
    "setenv WANDB_API_KEY §",
    "wandb login §",
    "wandb login --relogin --host https://wandb.example §",
    'bash -c "wandb login §" && echo "done"',
    "wandb login <<< §",
    "echo § | wandb login",
    "huggingface-cli login --token § --add-to-git-credential",
    "hf auth login --token=§",
    "docker login -u me -p § registry.example",
    "sshpass -p § ssh host",
    "--wandb-api-key §",
    "['--wandb-api-key', '§']",
    'curl -H "Authorization: Bearer §" https://x.example',
    "curl -H 'X-Api-Key: §' https://x.example",
    "curl -u me:§ https://x.example",
    "git clone https://me:§@github.example/r.git",
    "s3://id:§@bucket/x",
    "https://x.example/f?a=1&token=§&b=2",
    "https://x.example/f?X-Amz-Signature=§",
    "https://hooks.slack.com/services/§",
    'echo "machine api.wandb.ai login user password §" >> ~/.netrc',
    'os.environ["WANDB_API_KEY"] = "§"',
    'wandb.login(key="§")',
    'login(token="§")',
    '{"hf_token": "§", "other": 1}',
    "env:\n  - name: WANDB_API_KEY\n    value: §\n",
    "env: [{name: HF_TOKEN, value: '§'}]",
    "wandb_api_key: §  # mine",
    "docker run -e WANDB_API_KEY=§ image",
    "#SBATCH --export=ALL,WANDB_API_KEY=§",
)


@pytest.mark.parametrize("text", STATED)
def test_a_stated_secret_is_found_and_masked(text: str) -> None:
    planted = "pLanted9"
    written = text.replace("§", planted)
    assert planted in {secret.value for secret in found_in(written)}
    assert holds_secret(written)
    without = masked(written)
    assert without == text.replace("§", "***")
    assert masked(without) == without and not holds_secret(without)


@pytest.mark.parametrize(
    "text",
    (
        "export WANDB_API_KEY=$MY_OWN WANDB_MODE=offline",
        'HF_TOKEN="${HF_TOKEN}" DB_PASSWORD=$(cat /run/password) A_KEY=`pass show a`',
        "export WANDB_API_KEY=${WANDB_API_KEY:-}",
        "wandb login",
        "wandb login $WANDB_API_KEY",
        "wandb login --relogin",
        "if [ $A_KEY == x ]; then",
        "--tokenizer-model /a/b --max-tokens-to-oom 12 --num-query-groups 2",
        "MAX_TOKENS=500 PAD_TOKEN=<pad> SORT_KEY=name",
        "git clone https://github.example/r.git ssh://git@host/x",
        "https://x.example/f?page=2",
        "token: what the model reads",
        "the password is expected on standard input",
    ),
)
def test_what_is_none_stays(text: str) -> None:
    assert masked(text) == text


def test_a_known_secret_is_masked_wherever_it_stands_and_however_it_is_written() -> None:
    known = (Secret("K", "a'b\"c<&d§"),)
    for written in (
        "x a'b\"c<&d§ y",
        '{"v": "a\'b\\"c<&d\\u00a7"}',
        "<code>a&#x27;b&quot;c&lt;&amp;d§</code>",
        "https://x.example/a%27b%22c%3C%26d%C2%A7",
    ):
        assert "***" in masked(written, known)
        assert not {'b"c', "&quot;c", '\\"c', "%22c"} & {
            part for part in ('b"c', "&quot;c", '\\"c', "%22c") if part in masked(written, known)
        }


def test_a_short_secret_is_not_looked_for_inside_of_words() -> None:
    assert masked("tests: /tmp/test/x and testing", (Secret("K", "test"),)) == "tests: /tmp/***/x and testing"
    assert masked("abcd1 abc", (Secret("K", "abc"),)) == "abcd1 abc"  # too short for anything
    assert masked("prefixLONGENOUGHsuffix", (Secret("K", "LONGENOUGH"),)) == "prefix***suffix"


def test_variables_are_secret_by_name_and_by_what_they_hold() -> None:
    variables = {"WANDB_API_KEY": "k1k1k1", "PROXY": "http://u:p2p2p2@h:1", "PATH": "/bin", "WANDB_MODE": "offline"}
    assert set(found_in_variables(variables)) == {Secret("WANDB_API_KEY", "k1k1k1"), Secret("", "p2p2p2")}


def test_words_are_secret_by_the_flag_in_front() -> None:
    assert found_in_words(["--wandb-api-key", "two words", "--x", "1"]) == (Secret("", "two words"),)


def test_offsets_move_with_the_text() -> None:
    text = "A_KEY=hello --flag 3"
    at = text.index("--flag")
    without, (start, end) = masked_at(text, (at, at + 6))
    assert without == "A_KEY=*** --flag 3" and without[start:end] == "--flag"


def test_plain_data_is_masked_at_every_depth() -> None:
    data = {"env": {"HF_TOKEN": "abcdefgh", "N": 3}, "list": ["x abcdefgh", ("abcdefgh",), None, 1.5]}
    known = found_in_variables(data["env"] | {"N": ""})  # type: ignore[operator]
    assert masked_values(data, known) == {
        "env": {"HF_TOKEN": "***", "N": 3},
        "list": ["x ***", ("***",), None, 1.5],
    }


@pytest.mark.parametrize(
    "text",
    (
        "'",
        '"',
        "A_KEY=",
        "A_KEY=(",
        "A_KEY=(a ",
        "://",
        "${A_KEY:-",
        "--a ",
        "echo ",
        "docker login ",
        "\\",
        "{",
        "a=`",
    ),
)
def test_hostile_texts_take_steps_in_proportion_to_their_length(text: str) -> None:
    masked(text * (200_000 // len(text)))  # quadratic, this would take hours
