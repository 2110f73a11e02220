"""Names of secrets: which variables, flags and keys hold one."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_PARTS: Final = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+"
# KEY, TOKEN and the like are the last of a name's words: TOKENIZER, KEY_VALUE_HEADS and TOKENS_PER_STEP are no secrets.
_LAST: Final = frozenset("KEY APIKEY TOKEN PAT AUTH CREDENTIAL CREDENTIALS CREDS DSN BEARER JWT WEBHOOK COOKIE".split())
_BEHIND: Final = frozenset("ID VALUE STRING STR TEXT URL ENV B64 BASE64".split())  # AWS_ACCESS_KEY_ID, HF_TOKEN_STR
_ANYWHERE_IN_NAME: Final = r"SECRET|PASSW|PASSPHRASE|SSHPASS|APIKEY|API_?TOKEN|ACCESS_?KEY|PRIVATE_?KEY"
_PASSWORDS: Final = frozenset("PWD PASS PW".split())
_FOLDERS: Final = frozenset({"PWD", "OLDPWD", "OLD_PWD", "WORK_PWD", "INIT_PWD", "SCRIPT_PWD"})
_PLURALS: Final = frozenset({"KEYS", "TOKENS"})
_OF_A_SERVICE: Final = frozenset("API ACCESS AUTH SECRET PRIVATE BEARER".split())
# A name with these before its last word is about something else: a token of a vocabulary, a key of a record.
_NO_SECRET: Final[dict[str, frozenset[str]]] = {
    "TOKEN": frozenset(
        (
            "AUDIO BEGIN BOS BOT CLASS CLS CONTROL DOC EACH END EOD EOS EOT ERROR EXTRA FIM FIRST FRAME IM IMAGE "
            "IMG LAST MASK MAX MIDDLE MIN NEW NEXT NUM NUMBER PAD PADDING PER PREFIX PREV QUERY SAMPLE SEP "
            "SEPARATOR SINGLE SOS SOT SPECIAL START STOP SUFFIX THINK TILE UNK UNKNOWN VIDEO VISION VISUAL VOCAB"
        ).split()
    ),
    "PASS": frozenset("BACKWARD FIRST FORWARD MAX MULTI N NUM ONE SECOND SINGLE TWO".split()),
    "KEY": frozenset(
        (
            "ANSWER CACHE CAPTION CHOSEN COLUMN CONFIG CONTENT CONTEXT DATA DATASET DICT FEATURE FIELD FOREIGN GROUP "
            "HASH IMAGE IMAGES INDEX INPUT JSON JSONL LABEL LABELS MAP MESSAGE MESSAGES METRIC OUTPUT PARTITION "
            "PRIMARY PROBLEM PROMPT PUBLIC QUERY QUESTION REJECTED RESPONSE REWARD ROW SAMPLE SORT SORTING SOURCE "
            "STATE TARGET TEXT VALUE VIDEO"
        ).split()
    ),
}
_ALONE: Final = frozenset({"KEY", "AUTH", "PASS", "PW", "PAT", "COOKIE"})  # by themselves they are names of anything


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Is the value of a variable, a flag or a key of this name a secret?

    ``WANDB_API_KEY``, ``--hf-token`` and ``dbPassword`` are such names; ``MAX_TOKENS``, ``PAD_TOKEN``, ``SORT_KEY``,
    ``KEY_VALUE_HEADS``, ``--tokenizer-model`` and ``PWD`` are not.
    """
    if len(name) > 200:
        return False
    words = [word.upper() for word in re.findall(_PARTS, name)]
    whole = "_".join(words)
    if whole in _FOLDERS:
        return False
    if words[-1:] in (["FILE"], ["PATH"], ["DIR"], ["NAME"], ["LEN"], ["LENGTH"], ["SIZE"], ["TYPE"]):
        return False
    if re.search(_ANYWHERE_IN_NAME, whole):
        return True
    if len(words) > 1 and (words[-1] in _BEHIND or words[-1].isdigit()):
        del words[-1]
    if not words:
        return False
    before = words[-2] if len(words) > 1 else ""
    if words[-1] in _PLURALS:
        return before in _OF_A_SERVICE
    if words[-1] in _PASSWORDS or words[-1] in _LAST:
        if before == "":
            return words[-1] not in _ALONE
        return before not in _NO_SECRET.get(words[-1], ())
    return False


# What a name of a secret may be set to without giving anything away.
SWITCHES: Final = frozenset(
    "0 1 true false yes no on off none null auto value default offline online disabled enabled dryrun required".split()
)
