"""The site, built once: nothing is missing, no link is dead, and everybody can read it."""

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from notebooks import build

pytest.importorskip("myst_nb", reason="the extra `site` is not installed")
if os.environ.get("LABKIT_REQUIRE_BROWSER") != "1":
    pytest.importorskip("playwright")

from axe_playwright_python.sync_playwright import Axe  # noqa: E402
from bs4 import BeautifulSoup  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from docs.site import pages  # noqa: E402
from labkit.lab import glossary  # noqa: E402
from tests.browser.lab import FLAGS, NO_CHROMIUM, PATIENCE, find_chromium  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(path.stem for path in build.FOLDER.glob("[0-9][0-9]_*.ipynb"))
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1250, "height": 950}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    target = tmp_path_factory.mktemp("site") / "built"
    command = [sys.executable, "-m", "docs.site.build", "--to", str(target)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0 and not answer.stderr, answer.stderr[-3000:]
    return target


@cache
def read(path):
    return BeautifulSoup(path.read_text("utf-8"), "html.parser")


def text_of(page):
    """What a reader reads in the article, without code."""
    article = BeautifulSoup(str(page.find("article")), "html.parser")
    for code in article.find_all(["code", "pre", "script"]):
        code.decompose()
    return article.get_text(" ")


def plain(words):
    """Words without quotation marks, which the site sets in pairs."""
    return re.sub("[\"'“”‘’]", "", words)


def pictures_of(name):
    """Of a stored lesson: the words for each picture, its bytes, and whether it is a still."""
    for cell in json.loads((build.FOLDER / f"{name}.ipynb").read_text("utf-8"))["cells"]:
        for output in cell.get("outputs", ()):
            if "image/png" in (data := output.get("data", {})):
                words = "".join(data["text/plain"])
                stored = base64.b64decode("".join(data["image/png"]))
                still = output["output_type"] == "execute_result"
                yield words, hashlib.sha256(stored).digest(), still


@pytest.mark.parametrize("name", LESSONS)
def test_each_picture_of_a_lesson_and_each_still_of_a_widget_is_in_its_place(name, site):
    path = site / "notebooks" / f"{name}.html"
    shown = [
        (
            figure.img["alt"],
            hashlib.sha256((path.parent / figure.img["src"]).read_bytes()).digest(),
            "still" in figure["class"] and figure.figcaption is not None,
        )
        for figure in read(path).find_all("figure", class_="lesson-figure")
    ]
    assert shown == list(pictures_of(name))


@pytest.mark.parametrize("name", LESSONS)
def test_no_formula_of_a_lesson_is_left_as_tex(name, site):
    words = text_of(read(site / "notebooks" / f"{name}.html"))
    assert not re.findall(r"\\[a-zA-Z]+|\$[^$\n]{1,80}\$", words)


def test_no_internal_link_is_dead(site):
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts]
    anchors = {
        path: {tag.get("id") or tag.get("name") for tag in read(path).find_all(["a", True])}
        for path in files
    }
    dead = []
    for path in files:
        for tag in read(path).find_all(href=True) + read(path).find_all(src=True):
            link = urlsplit(tag.get("href") or tag.get("src"))
            if link.scheme or link.netloc:
                continue
            target = (path.parent / unquote(link.path)).resolve() if link.path else path
            fragment = unquote(link.fragment)
            if not target.is_file() or fragment and fragment not in anchors.get(target, ()):
                dead.append(f"{path.relative_to(site)} → {tag.get('href') or tag.get('src')}")
    assert not dead


def test_nothing_is_fetched_from_elsewhere(site):
    fetched = []
    for path in site.rglob("*.html"):
        for tag in read(path).find_all(["script", "link", "img", "iframe", "source"]):
            address = tag.get("src") or tag.get("href") or ""
            if address.startswith(("http:", "https:", "//")) and tag.get("rel") != ["canonical"]:
                fetched.append(f"{path.name}: {address}")
    for path in site.rglob("*.css"):
        fetched += re.findall(r"url\([\"']?(?:https?:)?//[^)]*\)", path.read_text("utf-8"))
    assert not fetched


def test_one_lesson_leads_to_the_next_and_back(site):
    at = "notebooks/" + LESSONS[0] + ".html"
    for name in LESSONS[1:]:
        after = read(site / at).find("a", class_="right-next")["href"]
        assert after == f"{name}.html"
        assert read(site / "notebooks" / after).find("a", class_="left-prev")
        at = f"notebooks/{after}"


def test_the_map_and_the_table_lead_to_every_lesson(site):
    links = [a["href"] for a in read(site / "index.html").article.find_all("a", href=True)]
    for name in LESSONS[1:]:
        assert links.count(f"notebooks/{name}.html") == 2  # the map and the table


def test_each_term_of_the_glossary_leads_to_where_its_lesson_says_it(site):
    numbers = {int(name[:2]): name for name in LESSONS}
    terms = [term for term in glossary.terms() if term.lesson in numbers]
    page, exact = read(site / "glossary.html"), 0
    for term, meaning in zip(sorted(terms, key=lambda t: t.term.lower()), page.find_all("dd")):
        path, _, target = meaning.find_all("a")[-1]["href"].partition("#")
        assert path.endswith(f"{numbers[term.lesson]}.html")
        assert plain(term.meaning) in plain(meaning.get_text())
        if target:
            place = read(site / path).find(id=target)
            block = place if place.get_text(strip=True) else place.parent
            near = " ".join(b.get_text() for b in [block, *block.find_next_siblings(limit=1)])
            assert glossary.occurs(plain(term.term), plain(near)), term.term
            exact += 1
    assert len(page.find_all("dd")) == len(terms) and exact > 0.8 * len(terms)


def test_what_labkit_offers_is_on_its_pages(site):
    ids = {tag["id"] for path in site.glob("labkit.*.html") for tag in read(path).find_all(id=True)}
    assert ids >= {
        "labkit.sampler.ddim",
        "labkit.schedule.NoiseSchedule.diffuse",
        "labkit.nets.attention.attend",
        "labkit.lab.quiz.ask",
    }


def test_without_an_address_of_the_repository_no_link_to_it_is_there(site):
    words = (site / "index.html").read_text("utf-8")
    assert pages.project().get("urls") or not re.search(r"colab|mybinder|github", words)


# In the browser


@pytest.fixture(scope="module")
def browser():
    if not (path := find_chromium()):
        if os.environ.get("LABKIT_REQUIRE_BROWSER") == "1":
            pytest.fail(NO_CHROMIUM)
        pytest.skip(NO_CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture
def visit(site, browser):
    """Opens a page of the site as a file; asks for nothing but files, and nothing goes wrong."""
    contexts, trouble = [], []

    def visit(name, viewport=LAPTOP, scheme="light"):
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda r: trouble.append(r.url) if r.url.startswith("http") else None)
        page.goto((site / name).as_uri())
        return page

    yield visit
    for context in contexts:
        context.close()
    assert trouble == []


TOO_WIDE = """() => {
    const room = document.documentElement.clientWidth + 1;
    if (document.documentElement.scrollWidth <= room) return [];
    return [...document.querySelectorAll("article *")]
        .filter(each => each.getBoundingClientRect().right > room)
        .map(each => each.outerHTML.slice(0, 120));
}"""


def test_on_a_phone_no_page_is_wider_than_the_screen(visit, site):
    page, wide = visit("index.html", PHONE), []
    for path in sorted([*site.glob("*.html"), *(site / "notebooks").glob("*.html")]):
        page.goto(path.as_uri())
        wide += [f"{path.name}: {part}" for part in page.evaluate(TOO_WIDE)[:3]]
    assert not wide


@pytest.mark.parametrize(
    ("name", "viewport", "scheme"),
    [
        ("index", LAPTOP, "light"),
        ("notebooks/01_markov_chains", PHONE, "light"),
        ("notebooks/00_start_here", LAPTOP, "dark"),
        ("notation", PHONE, "dark"),
        ("labkit.schedule", PHONE, "light"),
        ("search", LAPTOP, "light"),
    ],
)
def test_an_audit_of_accessibility_has_no_serious_finding(name, viewport, scheme, visit):
    page = visit(f"{name}.html", viewport, scheme)
    found = [
        f"{finding['id']} ({finding['impact']}): {node['target']} {node['html'][:150]}"
        for finding in Axe().run(page).response["violations"]
        if finding["impact"] in ("serious", "critical")
        for node in finding["nodes"][:5]
    ]
    assert not found, "\n".join(found)


FOCUSED = "() => document.activeElement.textContent.trim()"


def test_the_keyboard_reaches_the_text_the_next_lesson_and_what_is_folded(visit):
    page = visit(f"notebooks/{LESSONS[1]}.html")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED) == "Skip to main content"
    page.keyboard.press("Enter")
    summary = page.locator("article summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert summary.evaluate("each => each.parentElement.open")
    page.locator("a.right-next").focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/{LESSONS[2]}.html")


def test_a_search_finds_the_lesson(visit):
    page = visit("search.html")
    page.goto(f"{page.url}?q=Metropolis")
    page.locator("#search-results a", has_text="Markov chains").first.wait_for()
