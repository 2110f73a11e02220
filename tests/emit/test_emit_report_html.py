"""The page: both sides point at each other, nothing a user typed becomes a part of it, and it works in a browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from report_cases import HOSTILE, example, hostile, in_a_script

from bridge_args import translate
from bridge_args.emit.report import report
from bridge_args.mapping.translation import Translation
from bridge_args.source.read import from_text
from bridge_args.steps import Asked, translated
from bridge_args.words import Place

VOID = ("meta", "input", "br")


class Page(HTMLParser):
    """The elements of a page, each with its attributes and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for index in self.open:
            self.elements[index][2].append(data)

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs, _ in self.elements if attribute in attrs]

    def of(self, attribute: str, value: str) -> list[str]:
        """The texts of the elements that have this attribute."""
        return ["".join(text) for _, attrs, text in self.elements if attrs.get(attribute) == value]


def page_of(t: Translation, sources: dict[str, str] | None = None) -> Page:
    return Page(report(t, "html", sources=sources))


def test_flags_and_values_are_marked_where_they_are_written() -> None:
    t, text = in_a_script()
    page = page_of(t, {"train.sh": text})
    assert page.of("id", "file1-1") == ["LAYERS=4"]
    assert page.of("id", "file1-3") == ["\t--lr 1e-5 --no-load-rng"]
    marked = page.of("data-args", "num_layers")
    assert marked[:3] == ["4", "--num-layers", "num_layers: 4"]  # where it is given, its flag, what it became
    assert page.of("id", "flag-num_layers") == ["--num-layers"]
    assert page.of("data-args", "lr")[0].startswith("train.sh:3 --lr is lost")


def test_without_the_file_the_words_are_shown() -> None:
    page = page_of(in_a_script()[0])
    assert page.of("id", "flag-num_layers") == ["--num-layers"]
    lines = ["".join(text) for tag, _, text in page.elements if tag == "li"]
    assert [line for line in lines if line.startswith("    ")] == [
        "    --num-layers 4",
        "    --lr 1e-5",
        "    --no-load-rng",
    ]


def test_words_that_stand_nowhere_in_the_file_are_shown_too() -> None:
    t, text = in_a_script()
    page = page_of(t._replace(places=(*t.places[:4], None)), {"train.sh": text})
    assert page.of("id", "flag-no_load_rng") == ["--no-load-rng"]


def test_a_value_made_of_several_pieces_is_marked_where_it_begins() -> None:
    t, text = in_a_script()
    text = text.replace("LAYERS=4", "LAYERS=$((1+(2)))/x y")
    page = page_of(t, {"train.sh": text})
    assert page.of("data-args", "num_layers")[0] == "$((1+(2)))"


@pytest.mark.parametrize("place", [Place("train.sh", 99, 1), Place("train.sh", 1, 500), Place("other", 1, 1)])
def test_a_place_that_is_not_in_the_text_does_no_harm(place: Place) -> None:
    t, text = in_a_script()
    assert page_of(t._replace(places=(place,) * 5), {"train.sh": text}).values("id")


def test_every_link_leads_somewhere_and_every_id_is_there_once() -> None:
    t, text = in_a_script()
    for page in (page_of(example()), page_of(t), page_of(t, {"train.sh": text})):
        ids = page.values("id")
        assert len(ids) == len(set(ids))
        assert {link.removeprefix("#") for link in page.values("href")} <= set(ids)


def test_the_page_needs_no_network() -> None:
    page = report(example(), "html")
    assert all(link.startswith("#") for link in Page(page).values("href"))
    assert not {"src", "action", "srcset"} & {name for _, attrs, _ in Page(page).elements for name in attrs}
    assert not any(word in page for word in ("http:", "https:", "url(", "@import", "fetch("))


@settings(deadline=None)
@given(HOSTILE)
def test_nothing_typed_becomes_html(text: str) -> None:
    t = hostile(text)
    places = (Place("a", 1, 1),) * len(t.words)
    for made, sources in ((t, None), (t._replace(places=places), {"a": text})):
        page = page_of(made, sources)
        plain = page_of(made._replace(words=("x",) * len(t.words)), {"a": "plain"} if sources else None)
        known = {(tag, *attrs) for tag, attrs, _ in page_of(hostile("plain")).elements}
        known |= {(tag, *attrs) for tag, attrs, _ in plain.elements} | {("span", "class", "data-args", "title")}
        for tag, attrs, _ in page.elements:
            assert tag in {"mark", *(entry[0] for entry in known)}
            assert not any(name.startswith("on") or name == "style" for name in attrs)
        assert [tag for tag, _, _ in page.elements].count("script") == 1


# In a browser --------------------------------------------------------------------------------------------------------

SCRIPT = """\
#!/bin/bash
LAYERS=4
torchrun --nproc-per-node 8 pretrain_gpt.py --num-layers $LAYERS --hidden-size 512 \\
  --num-attention-heads 8 --seq-length 128 --max-position-embeddings 128 --micro-batch-size 1 \\
  --global-batch-size 16 --lr 1e-4 --train-iters 10 --adlr-autoresume --mock-data --save '</pre><script>x=1</script>' \\
  --tokenizer-type NullTokenizer --vocab-size 1000 --num-experts 4 --bf16
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    words = ["headless=new", "disable-gpu", "disable-dev-shm-usage", "window-size=1400,1000"]
    for word in [*words, "no-sandbox"] if os.geteuid() == 0 else words:
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def page(browser: Any, tmp_path: Path) -> Any:
    from bridge_args.source.read import from_file

    script = tmp_path / "train.sh"
    script.write_text(SCRIPT)
    source = from_file(str(script))
    t = translate(source.command, env=source.environment)
    (tmp_path / "report.html").write_text(report(t, "html", sources={str(script): SCRIPT}), encoding="utf-8")
    browser.get(f"file://{tmp_path}/report.html")
    yield browser
    assert browser.get_log("browser") == []


def lit(page: Any, side: str) -> list[str]:
    return [element.text for element in page.find_elements("css selector", f"#{side} .lit")]


def point_at(page: Any, element_id: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).move_to_element(page.find_element("id", element_id)).perform()


def press(page: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(page).send_keys(*keys).perform()


def test_a_flag_lights_up_what_it_became(page: Any) -> None:
    assert lit(page, "left") == lit(page, "right") == []
    point_at(page, "flag-num_layers")
    assert lit(page, "left") == ["4", "--num-layers"]
    assert lit(page, "right") == ["num_layers: 4"]
    assert page.find_element("id", "detail").text.startswith("--num-layers 4  →  model.num_layers = 4")
    point_at(page, "flag-hidden_size")
    assert lit(page, "right") == ["hidden_size: 512"]
    near = [element.text for element in page.find_elements("css selector", "#right .near")]
    assert "kv_channels: 64" in near  # worked out from it


def test_a_setting_lights_up_where_it_comes_from(page: Any) -> None:
    page.execute_script("document.getElementById('set-train.global_batch_size').scrollIntoView()")
    point_at(page, "set-train.global_batch_size")
    point = page.find_element("css selector", "[id='set-train.global_batch_size'] a")
    page.execute_script("arguments[0].focus()", point)
    assert lit(page, "left") == ["--global-batch-size", "16"]


def test_what_is_lit_is_scrolled_into_view(page: Any) -> None:
    point_at(page, "flag-save")
    assert lit(page, "right")
    assert seen_in(page, "right", ".lit")


def seen_in(page: Any, pane: str, selector: str) -> bool:
    """Is the first such element within the part of the pane that is scrolled to?"""
    return bool(
        page.execute_script(
            "var pane = document.getElementById(arguments[0]), b = pane.getBoundingClientRect(),"
            "a = pane.querySelector(arguments[1]).getBoundingClientRect();"
            "return a.top >= b.top && a.bottom <= b.bottom",
            pane,
            selector,
        )
    )


def test_a_click_keeps_it_and_escape_lets_go(page: Any) -> None:
    page.find_element("id", "flag-num_layers").click()
    point_at(page, "flag-hidden_size")
    assert lit(page, "right") == ["num_layers: 4"]
    assert page.current_url.endswith("report.html")  # the click moved nothing but the light
    press(page, "\ue00c")
    assert lit(page, "right") == []


def test_the_keyboard_is_enough(page: Any) -> None:
    page.execute_script("document.getElementById('flag-num_layers').focus()")
    assert lit(page, "right") == ["num_layers: 4"]
    press(page, "\ue004")  # Tab
    assert lit(page, "right") == ["hidden_size: 512"]
    press(page, "/")
    assert page.switch_to.active_element.get_attribute("id") == "q"


def test_search(page: Any) -> None:
    press(page, "/", "autoresume")
    found = page.find_elements("css selector", ".code .hit, .findings li:not([hidden]), tbody tr:not([hidden])")
    assert {"--adlr-autoresume" in item.text for item in found} == {True}
    assert page.find_element("id", "count").text == f"{len(found)} matches"
    assert 3 <= len(found) <= 4  # the finding, the flag's line, the table's row
    assert seen_in(page, "left", ".hit")
    rows = page.find_elements("css selector", "tbody tr")
    assert [row.text.split()[1] for row in rows if row.is_displayed()] == ["--adlr-autoresume"]
    seen = []
    for _ in found:
        press(page, "\ue007")  # Enter: the next match is lit
        seen.append(lit(page, "left"))
    assert seen.count(["--adlr-autoresume"]) >= 3
    press(page, "\ue00c")
    assert page.find_element("id", "count").text == ""
    assert all(row.is_displayed() for row in rows)


def test_what_was_typed_is_text(page: Any) -> None:
    assert page.execute_script("return typeof x") == "undefined"
    assert "</pre><script>x=1</script>" in page.find_element("id", "left").text


def test_without_javascript_a_link_leads_across(page: Any, tmp_path: Path) -> None:
    text = (tmp_path / "report.html").read_text()
    head, _, rest = text.partition("<script>\n")
    (tmp_path / "plain.html").write_text(head + rest.partition("</script>")[2])
    page.get(f"file://{tmp_path}/plain.html")
    page.find_element("id", "flag-num_layers").click()
    assert page.current_url.endswith("#set-model.num_layers")
    assert page.find_element("css selector", ":target").text.strip().startswith("num_layers: 4")


def test_flags_with_a_finding_are_marked_in_the_script() -> None:
    text = "torchrun pretrain_gpt.py --num-layers 2 --lr fast \\\n  --num-layerz 4 --seq-length 64\n"
    script = from_text(text, "train.sh")
    t = translate(script.command)
    page = report(t, "html", sources={"train.sh": text})
    left = page[page.index('id="left"') : page.index('id="right"')]
    marked = dict(re.findall(r'<mark class="about-(?:fix|decide|check)" title="([^"]*)">([^<]*)</mark>', left))
    by_text = {text: title for title, text in marked.items()}
    assert set(by_text) >= {"fast", "--num-layerz"} and "--seq-length" not in by_text
    assert "expects a number" in by_text["fast"] and "is not an argument" in by_text["--num-layerz"]
    words_only = report(t, "html")
    assert ">--num-layerz</mark>" in words_only and ">fast</mark>" in words_only


def test_secrets_are_masked_and_the_rest_of_the_line_keeps_its_marks() -> None:
    text = "A_KEY=planted00 torchrun pretrain_gpt.py --num-layers 2 --wandb-exp-name planted00 --lr 1\n"
    t = translated(from_text(text, "train.sh"), Asked())
    page = report(t, "html", sources={"train.sh": text})
    assert "planted00" not in page and "A_KEY=***" in page
    assert 'id="flag-lr"' in page and 'id="flag-wandb_exp_name"' in page
