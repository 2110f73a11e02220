"""Everything known about one argument, and the arguments that words are about."""

from __future__ import annotations

from bridge_args.explain.facts import Facts, about, dest_of
from bridge_args.explain.pages import FORMATS, found, pages
from bridge_args.explain.search import Hit, search

__all__ = ["FORMATS", "Facts", "Hit", "about", "dest_of", "found", "pages", "search"]
