"""What differs, side by side, as one page of HTML that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from bridge_args.diff.compare import Compared, Difference, Side
from bridge_args.diff.groups import TITLES
from bridge_args.diff.show import shown, summary, where
from bridge_args.seen import visible

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; margin-bottom: 2rem; }
th, td { border: 1px solid #8886; padding: .35rem .6rem; text-align: left; vertical-align: top;
         overflow-wrap: anywhere; }
th { font-weight: 600; } code { font: 13px/1.4 ui-monospace, monospace; }
small { display: block; opacity: .75; }
.numbers { border-left: 4px solid #c33; } .speed { border-left: 4px solid #b80; } .logs { border-left: 4px solid #58a; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #e4e4e4; } }
"""


def to_html(found: Compared) -> str:
    """The page; no script, nothing from elsewhere, every text escaped."""
    return "\n".join(_page(found)) + "\n"


def _page(found: Compared) -> Iterator[str]:
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8"><title>What differs</title>'
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>{_text(summary(found).capitalize())}</h1>"
    yield f"<p>In the words of Bridge {_text(found.bridge)}, defaults included.</p>"
    for group, title in TITLES.items():
        differing = found.of(group)
        if not differing:
            continue
        yield f"<h2>{title} ({len(differing)})</h2>"
        yield f'<table class="{group}"><thead><tr><th>Setting</th>'
        for letter, name, made_from in zip("AB", found.names, found.made_from, strict=True):
            yield f"<th>{letter}: {_text(name)}<small>{_text(made_from)}</small></th>"
        yield "</tr></thead><tbody>"
        for one in differing:
            yield _row(one)
        yield "</tbody></table>"
    yield "</body></html>"


def _row(one: Difference) -> str:
    return f"<tr><td><code>{_text(one.path)}</code></td>{_cell(one.left)}{_cell(one.right)}</tr>"


def _cell(side: Side) -> str:
    return f"<td><code>{_text(shown(side.value))}</code><small>{_text(where(side))}</small></td>"


def _text(text: str) -> str:
    return escape(visible(text))
