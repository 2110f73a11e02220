"""Where secrets stand in scripts, YAML, JSON, Python and command lines; read only when a text may hold one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge_args.records import Record
from bridge_args.secret_names import SWITCHES, is_secret

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


def is_given_away(value: str) -> bool:
    """Does the text hold more than references to values elsewhere, switches, and what is masked already?"""
    value = _DEFAULT.sub(lambda found: "" if is_secret(found.group(1)) else found.group(2), value)
    rest = _REFERENCE.sub("", value).strip()
    return bool(rest.strip("*")) and rest.lower() not in SWITCHES


class Span(Record):
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


def _word_at(text: str, at: int, name: str) -> Iterator[Span]:
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


def _told(found: re.Match[str], name: str) -> Iterator[Span]:
    written = found.group()
    value = _unquoted(written).strip("\"'")
    if not is_given_away(value):
        return
    quoted = len(written) > 1 and written[0] in "\"'" and written[-1] == written[0] and written[0] not in written[1:-1]
    yield Span(found.start() + quoted, found.end() - quoted, name, value)


def _scalar_at(text: str, at: int, name: str) -> Iterator[Span]:
    """The value of a key in YAML or JSON that begins here."""
    found = _QUOTED.match(text, at)
    if found is not None:
        value = found.group(1) if found.group(1) is not None else found.group(2)
        if is_given_away(value):
            yield Span(found.start() + 1, found.end() - 1, name, value)
        return
    end = _PLAIN.match(text, at)
    assert end is not None
    value = re.split(r"\s#", end.group(), maxsplit=1)[0].rstrip()
    if " " not in value and value[:1] not in ("", "{", "[", "&", "|", ">") and is_given_away(value):
        yield Span(at, at + len(value), name, value)


def _until(text: str, at: int, name: str = "") -> Iterator[Span]:
    """What stands here up to a space or a quote."""
    found = _UNTIL.match(text, at)
    if found is not None and is_given_away(found.group()):
        yield Span(found.start(), found.end(), name, found.group())


def stated(text: str) -> Iterator[Span]:
    """Every secret of a text that can be seen by where it stands, in no order."""
    for pattern in (_ASSIGNED, _INDEXED, _SPACED, _SET_BY, _HERE):
        covered = 0  # A=A=A=…: what is within a secret need not be looked at
        for found in pattern.finditer(text):
            if found.start() >= covered and is_secret(found.group(1)):
                for span in _word_at(text, found.end(), found.group(1)):
                    covered = span.end
                    yield span
    for found in _IN_BRACES.finditer(text):
        if is_secret(found.group(1)) and is_given_away(found.group(2)):
            yield Span(found.start(2), found.end(2), found.group(1), found.group(2).strip("\"'"))
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
        if is_given_away(found.group(group)) and (group == 3 or len(found.group(2)) >= 16):
            yield Span(found.start(group), found.end(group), "", found.group(group))
    for found in _OF_QUERY.finditer(text):
        if found.group(1).lower() in _SIGNED or is_secret(found.group(1)):
            yield from _until(text, found.end())
    for pattern in (_OF_ITS_FORM, _PRIVATE_KEY):
        for found in pattern.finditer(text):
            yield Span(found.start(), found.end(), "", found.group())
