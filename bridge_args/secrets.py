"""Secrets in what users write: which texts are some, and the same text without them.

A secret is known by the name it is given to (``WANDB_API_KEY=…``, ``--wandb-api-key …``, ``"password": …``), by what
is done with it (``wandb login …``, ``Authorization: Bearer …``, ``https://user:…@host``), or by its own form
(``hf_…``). What has been found once is known everywhere: ``masked`` takes away every later occurrence as well.
"""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

MASK: Final = "***"
_MOST: Final = 1000  # secrets of one source; more of them are no launch script's
_SHORTEST: Final = 4  # characters of a secret that is looked for elsewhere; shorter ones stand in too many words
_ANYWHERE: Final = 8  # characters of one that is looked for inside of words, too


class Secret(NamedTuple):
    """A text that is to be shown nowhere.

    Attributes:
        name: the variable it is the value of; empty where it is that of none.
        value: the text.
    """

    name: str
    value: str


# Names ----------------------------------------------------------------------------------------------------------------

_PARTS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# KEY, TOKEN and the like are the last of a name's words: TOKENIZER, KEY_VALUE_HEADS and TOKENS_PER_STEP are no secrets.
_LAST: Final = frozenset("KEY APIKEY TOKEN PAT AUTH CREDENTIAL CREDENTIALS CREDS DSN BEARER JWT WEBHOOK COOKIE".split())
_BEHIND: Final = frozenset("ID VALUE STRING STR TEXT URL ENV B64 BASE64".split())  # AWS_ACCESS_KEY_ID, HF_TOKEN_STR
_ANYWHERE_IN_NAME: Final = re.compile(r"SECRET|PASSW|PASSPHRASE|SSHPASS|APIKEY|API_?TOKEN|ACCESS_?KEY|PRIVATE_?KEY")
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
            "ANSWER CACHE CAPTION CHOSEN COLUMN CONTENT CONTEXT DATA DATASET DICT FEATURE FIELD FOREIGN GROUP "
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
    words = [word.upper() for word in _PARTS.findall(name)]
    whole = "_".join(words)
    if whole in _FOLDERS:
        return False
    if words[-1:] in (["FILE"], ["PATH"], ["DIR"], ["NAME"], ["LEN"], ["LENGTH"], ["SIZE"], ["TYPE"]):
        return False
    if _ANYWHERE_IN_NAME.search(whole):
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


# Values ---------------------------------------------------------------------------------------------------------------

# What a name of a secret may be set to without giving anything away.
_WORDS_OF_SWITCHES: Final = frozenset(
    "0 1 true false yes no on off none null auto default offline online disabled enabled dryrun required".split()
)
# One word of bash: quoted and bare stretches one after the other.
_WORD: Final = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\$'(?:[^'\\]|\\.)*'|\\.|[^\s"'\\;&|()<>`])+""", re.DOTALL)
# The same, with no line break in it.
_ON_A_LINE: Final = re.compile(r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|\\.|[^\s"'\\;&|()<>`])+""")
_CLOSED: Final = re.compile(r"""\\.|"(?:[^"\\]|\\.)*"|'[^']*'""", re.DOTALL)
_UP_TO: Final = {
    "'": re.compile(r"""(?:"[^"'\n]*"|[^\s"';&|()<>`])+"""),
    '"': re.compile(r"""(?:\\"[^"\n]*\\"|'[^'"\n]*'|\\[^"\n]|[^\s"'\\;&|()<>`])+"""),
}
_QUOTED: Final = re.compile(r""""((?:[^"\\\n]|\\.)*)"|'((?:[^'\\\n]|\\.)*)'""")
# What stands for a value that is elsewhere: $X, ${X}, $(command), `command`, {{ template }}, <placeholder>.
_REFERENCE: Final = re.compile(
    r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|\$\{\{.*\}\}|\$\{oc\.env:[^}]*\}|\$[A-Za-z_][A-Za-z0-9_]*|\$[0-9@*#?]|\$\(.*\)|`[^`]*`"
    r"|\{\{.*\}\}|<[^<>]*>|\$\Z",
    re.DOTALL,
)
_DEFAULT: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?[-=+?]([^{}]*)\}")


def _unquoted(word: str) -> str:
    """A word of bash without its quotes, references left as they are."""
    pieces = re.findall(r"""\$?"((?:[^"\\]|\\.)*)"|\$?'([^']*)'|\\(.)|([^"'\\]+)""", word, re.DOTALL)
    return "".join(re.sub(r'\\(["\\$`])', r"\1", double) + single + one + bare for double, single, one, bare in pieces)


def _is_given_away(value: str) -> bool:
    """Does the text hold more than references to values elsewhere, switches, and what is masked already?"""
    value = _DEFAULT.sub(lambda found: "" if is_secret(found.group(1)) else found.group(2), value)
    rest = _REFERENCE.sub("", value).strip()
    return bool(rest.strip("*")) and rest.lower() not in _WORDS_OF_SWITCHES


class _Span(NamedTuple):
    """A stretch of a text that is a secret."""

    start: int
    end: int
    name: str
    value: str


# Places ---------------------------------------------------------------------------------------------------------------

_ASSIGNED: Final = re.compile(r"(?<![\w-])([A-Za-z_]\w*)(?:\[[^\]\n]{0,80}\])?\+?=(?!=)")
_INDEXED: Final = re.compile(r"""\[["']([A-Za-z_]\w*)["']\][ \t]*=(?!=)[ \t]*(?=["'])""")  # os.environ["NAME"] =
_SPACED: Final = re.compile(r"(?<![\w-])([A-Za-z_]\w*)[ \t]{0,8}(?:=|:=)[ \t]{1,8}(?=[\"'])")
_IN_BRACES: Final = re.compile(r"\$\{([A-Za-z_]\w*)(?:\[[^\]\n]{0,80}\])?:?[-=]([^{}\n]+)\}")
_KEYED: Final = re.compile(r"""(?:^|[{,])[ \t]*(?:-[ \t]+)?(["']?)([A-Za-z_][\w.-]*)\1[ \t]*:[ \t]+""", re.MULTILINE)
_KEYED_CLOSE: Final = re.compile(r"""(["'])([A-Za-z_][\w.-]*)\1[ \t]*:[ \t]*""")
_LISTED: Final = re.compile(
    r"""^[ \t]*(?:-[ \t]+)?["']?name["']?[ \t]*:[ \t]*["']?([A-Za-z_]\w*)["']?[ \t]*,?[ \t]*\n"""
    r"""[ \t]*["']?value["']?[ \t]*:[ \t]*""",
    re.MULTILINE,
)
_LISTED_FLOW: Final = re.compile(
    r"""["']?name["']?[ \t]*:[ \t]*["']?([A-Za-z_]\w*)["']?[ \t]*,[ \t]*["']?value["']?[ \t]*:[ \t]*"""
)
_FLAG: Final = re.compile(r"(?<![\w-])--?([A-Za-z][\w-]*)(?:=|[ \t]+(?:\\\n[ \t]*)?)(?!-)")
_FLAG_BETWEEN_QUOTES: Final = re.compile(
    r"""(["'])--?([A-Za-z][\w-]*)\1[ \t]*,[ \t\n]*(?=["'])"""
)  # of a list of words
_SET_BY: Final = re.compile(
    r"(?<![\w-])(?:setenv|printf[ \t]+-v)[ \t]+([A-Za-z_]\w*)[ \t]+(?:(?:--|['\"]?%s['\"]?)[ \t]+)?"
)
_HERE: Final = re.compile(r"(?<![\w-])read(?:[ \t]+-\w+)*[ \t]+([A-Za-z_]\w*)[ \t]*<<<[ \t]*")
# Programs whose next word, or one behind a flag of theirs, is a secret.
_LOGIN: Final = re.compile(
    r"(?<![\w-])(?:wandb|comet|neptune|clearml|swanlab)[ \t]+login"
    r"((?:[ \t]+--?[\w-]+(?:=\S*|(?<=host)[ \t]+\S+)?)*)[ \t]+(?![-<>|&;#])"
)
_LOGIN_CALL: Final = re.compile(r"\blogin\([ \t\n]*(?:(?:key|token)[ \t]*=[ \t]*)?(?=[\"'])")
_LOGIN_HERE: Final = re.compile(r"(?<![\w-])(?:wandb|huggingface-cli|hf|docker|ngc)\b[^\n|;&<]{0,200}<<<[ \t]*")
_PIPED: Final = re.compile(
    r"(?<![\w-])(?:echo|printf)(?:[ \t]+-\w+|[ \t]+['\"]?%s(?:\\n)?['\"]?)*[ \t]+"
    r"(?=[^\n|]{1,400}\|[ \t]*(?:sudo[ \t]+)?(?:[\w./-]+/)?"
    r"(?:sudo[ \t]+-S|(?:wandb|huggingface-cli|hf|docker|podman|ngc|gh|kaggle|sshpass|kinit)\b[^\n|]{0,200}"
    r"(?:login|std-?in|token)))"
)
_SHORT: Final = re.compile(
    r"(?<![\w-])(?:sshpass[ \t]+-p|"
    r"(?:docker|podman|apptainer|helm)(?:[ \t]+(?:registry|remote))?[ \t]+login[^\n|;&]{0,200}?[ \t]-p)[ \t]*"
)
_USER: Final = re.compile(
    r"(?<![\w-])(?:curl|wget|http)\b[^\n|;&]{0,400}?[ \t](?:-u|--user)[ \t=]+(['\"]?)[^\s:'\"]{0,100}:(?=[^\s'\"])"
)
_NETRC: Final = re.compile(r"\blogin[ \t\n]+\S+[ \t\n]+password[ \t\n]+")
_HEADER: Final = re.compile(
    r"(?i)\b(?:proxy-)?authorization['\"]?[ \t]*[:=][ \t]*['\"]?(?:(?:bearer|basic|token|key)[ \t]+)?(?=[^\s'\"])"
)
_BEARER: Final = re.compile(r"(?<![\w-])[Bb]earer[ \t]+(?=[A-Za-z0-9._~+/-]{8})")
_KEY_HEADER: Final = re.compile(r"(?i)(?<![\w-])(x-[a-z-]{0,30}(?:key|token|secret))['\"]?[ \t]*:[ \t]*(?=[^\s'\"])")
_IN_URL: Final = re.compile(
    r"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,20})://([^\s/@:?#'\"<>]*)(?::([^\s/@'\"<>]*))?@"
)
_OF_QUERY: Final = re.compile(r"[?&;]([A-Za-z][\w.-]{0,40})=")
_SIGNED: Final = frozenset(
    (
        "sig signature x-amz-signature x-amz-credential x-goog-signature x-goog-credential awsaccesskeyid key "
        "code auth sign"
    ).split()
)
_HOOK: Final = re.compile(
    r"https?://(?:hooks\.slack\.com/(?:services|workflows)|discord(?:app)?\.com/api/webhooks|[\w.-]+\.webhook\.office\.com)/"
)
_OF_ITS_FORM: Final = re.compile(
    r"(?<![A-Za-z0-9_-])(?:"
    r"hf_[A-Za-z0-9]{20,}|api_org_[A-Za-z0-9]{20,}|gh[opusr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}"
    r"|sk-[A-Za-z0-9_-]{20,}|nvapi-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|pypi-[\w-]{20,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}"
    r")"
)
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]{1,20000}(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?"
)
_INSIDE: Final = re.compile(r"[^()]*")  # of an array
_PLAIN: Final = re.compile(r"[^\n,}\]]*")  # a scalar of YAML
_UNTIL: Final = re.compile(r"[^\s'\"<>&;#)\]},]+")


def _word_at(text: str, at: int, name: str) -> Iterator[_Span]:
    """The word of bash that begins here, where it gives something away."""
    if text.startswith("(", at):  # an array
        inside = _INSIDE.match(text, at + 1)
        assert inside is not None
        for word in _WORD.finditer(text, at + 1, inside.end()):
            yield from _told(word, name)
        return
    found = _WORD.match(text, at) if text[at : at + 1] in ("'", '"', "$") else None
    outer = _open_quote(text, at)
    if outer:  # "… wandb login KEY": the quote behind ends the outer text
        found = _UP_TO[outer].match(text, at)
    elif found is None:
        found = _ON_A_LINE.match(text, at)
    if found is not None:
        yield from _told(found, name)


def _open_quote(text: str, at: int) -> str:
    """The quote that the line has opened before, and not closed; empty for none."""
    before = text[max(text.rfind("\n", max(0, at - 2000), at), at - 2000, 0) : at]
    rest = _CLOSED.sub("", before)
    return min((quote for quote in "'\"" if quote in rest), key=rest.index, default="")


def _told(found: re.Match[str], name: str) -> Iterator[_Span]:
    written = found.group()
    value = _unquoted(written).strip("\"'")
    if not _is_given_away(value):
        return
    quoted = len(written) > 1 and written[0] in "\"'" and written[-1] == written[0] and written[0] not in written[1:-1]
    yield _Span(found.start() + quoted, found.end() - quoted, name, value)


def _scalar_at(text: str, at: int, name: str) -> Iterator[_Span]:
    """The value of a key in YAML or JSON that begins here."""
    found = _QUOTED.match(text, at)
    if found is not None:
        value = found.group(1) if found.group(1) is not None else found.group(2)
        if _is_given_away(value):
            yield _Span(found.start() + 1, found.end() - 1, name, value)
        return
    end = _PLAIN.match(text, at)
    assert end is not None
    value = re.split(r"\s#", end.group(), maxsplit=1)[0].rstrip()
    if " " not in value and value[:1] not in ("", "{", "[", "&", "|", ">") and _is_given_away(value):
        yield _Span(at, at + len(value), name, value)


def _until(text: str, at: int, name: str = "") -> Iterator[_Span]:
    """What stands here up to a space or a quote."""
    found = _UNTIL.match(text, at)
    if found is not None and _is_given_away(found.group()):
        yield _Span(found.start(), found.end(), name, found.group())


def _stated(text: str) -> Iterator[_Span]:
    """Every secret of a text that can be seen by where it stands, in no order."""
    for pattern in (_ASSIGNED, _INDEXED, _SPACED, _SET_BY, _HERE):
        covered = 0  # A=A=A=…: what is within a secret need not be looked at
        for found in pattern.finditer(text):
            if found.start() >= covered and is_secret(found.group(1)):
                for span in _word_at(text, found.end(), found.group(1)):
                    covered = span.end
                    yield span
    for found in _IN_BRACES.finditer(text):
        if is_secret(found.group(1)) and _is_given_away(found.group(2)):
            yield _Span(found.start(2), found.end(2), found.group(1), found.group(2).strip("\"'"))
    for pattern, group in ((_KEYED, 2), (_KEYED_CLOSE, 2), (_LISTED, 1), (_LISTED_FLOW, 1)):
        for found in pattern.finditer(text):
            if is_secret(found.group(group)):
                yield from _scalar_at(text, found.end(), found.group(group))
    for found in _FLAG.finditer(text):
        if is_secret(found.group(1)):
            yield from _word_at(text, found.end(), "")
    for found in _FLAG_BETWEEN_QUOTES.finditer(text):
        if is_secret(found.group(2)):
            yield from _scalar_at(text, found.end(), "")
    for pattern in (_LOGIN, _LOGIN_CALL, _LOGIN_HERE, _PIPED, _SHORT):
        for found in pattern.finditer(text):
            yield from _word_at(text, found.end(), "")
    for pattern in (_NETRC, _USER, _HEADER, _BEARER, _KEY_HEADER, _HOOK):
        for found in pattern.finditer(text):
            yield from _until(text, found.end())
    for found in _IN_URL.finditer(text):
        group = 3 if found.group(3) is not None else 2
        # A user's name alone is none, unless it is as long as a token.
        if _is_given_away(found.group(group)) and (group == 3 or len(found.group(2)) >= 16):
            yield _Span(found.start(group), found.end(group), "", found.group(group))
    for found in _OF_QUERY.finditer(text):
        if found.group(1).lower() in _SIGNED or is_secret(found.group(1)):
            yield from _until(text, found.end())
    for pattern in (_OF_ITS_FORM, _PRIVATE_KEY):
        for found in pattern.finditer(text):
            yield _Span(found.start(), found.end(), "", found.group())


# What others use ------------------------------------------------------------------------------------------------------


def found_in(text: str) -> tuple[Secret, ...]:
    """The secrets that a text states: a script, a YAML file, words with spaces between."""
    found = dict.fromkeys(Secret(span.name, span.value) for span in _stated(text))
    return tuple(found)[:_MOST]


def found_in_words(words: Sequence[str]) -> tuple[Secret, ...]:
    """The secrets that the words of a command line state."""
    return found_in(shlex.join(words))


def found_in_variables(variables: Mapping[str, str]) -> tuple[Secret, ...]:
    """The values of those variables whose names say that they are secrets, and what the other values state."""
    found = [Secret(name, value) for name, value in variables.items() if is_secret(name) and _is_given_away(value)]
    for name, value in variables.items():
        if not is_secret(name) and any(sign in value for sign in ("://", "=", "earer", "_", "-")):
            found += found_in(value)
    return tuple(dict.fromkeys(found))[:_MOST]


def holds_secret(text: str) -> bool:
    """Does a text state a secret? Such a file is for its owner only."""
    return next(_stated(text), None) is not None


def masked(text: str, known: Iterable[Secret] = ()) -> str:
    """The text with ``***`` in place of every secret that it states, and of every one that is known."""
    return masked_at(text, (), known)[0]


def masked_at(text: str, offsets: Sequence[int], known: Iterable[Secret] = ()) -> tuple[str, tuple[int, ...]]:
    """``masked``, and where in it the offsets of the text are; one inside of a secret is its mask's beginning."""
    pieces: list[str] = []
    moved = list(offsets)
    at = grown = 0
    for start, end in secret_parts(text, known):
        pieces += (text[at:start], MASK)
        at = end
        change = len(MASK) - (end - start)
        for index, offset in enumerate(offsets):
            if offset >= end:
                moved[index] += change
            elif offset > start:
                moved[index] = start + grown
        grown += change
    if not pieces:
        return text, tuple(offsets)
    return "".join([*pieces, text[at:]]), tuple(moved)


def secret_parts(text: str, known: Iterable[Secret] = ()) -> list[tuple[int, int]]:
    """From where to before where a text is secret, in order; no two touch."""
    found = [(span.start, span.end) for span in _stated(text)]
    pattern = _pattern_of(tuple(known))
    if pattern is not None:
        found += [match.span() for match in pattern.finditer(text)]
    parts: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        elif start < end:
            parts.append((start, end))
    return parts


def masked_values(value: object, known: Iterable[Secret]) -> object:
    """``masked`` for every text inside lists, tuples and mappings; what is no text stays as it is."""
    known = tuple(known)
    match value:
        case str():
            return masked(value, known)
        case list():
            return [masked_values(item, known) for item in value]
        case tuple():
            return tuple(masked_values(item, known) for item in value)
        case dict():
            return {
                masked(key, known) if isinstance(key, str) else key: (
                    MASK
                    if isinstance(key, str) and isinstance(item, str) and is_secret(key) and _is_given_away(item)
                    else masked_values(item, known)
                )
                for key, item in value.items()
            }
    return value


@lru_cache(maxsize=64)
def _pattern_of(known: tuple[Secret, ...]) -> re.Pattern[str] | None:
    """Finds the known secrets, as they are and as our formats write them."""
    written: dict[str, None] = {}
    for _, value in known[:_MOST]:
        if len(value) < _SHORTEST or value.lower() in _WORDS_OF_SWITCHES or not value.strip("*"):
            continue
        for form in _FORMS:
            written[form(value)] = None
    if not written:
        return None
    forms = sorted(written, key=len, reverse=True)
    return re.compile("|".join(map(_looked_for, forms)))


_FORMS: Final[tuple[Callable[[str], str], ...]] = (
    str,
    html.escape,
    lambda value: json.dumps(value)[1:-1],
    lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    lambda value: repr(value)[1:-1],
    lambda value: value.replace("'", "'\"'\"'"),
    lambda value: re.sub(r'(["$`\\])', r"\\\1", value),
    lambda value: quote(value, safe="", errors="replace"),
)


def _looked_for(value: str) -> str:
    pattern = re.escape(value)
    return pattern if len(value) >= _ANYWHERE else rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"
