"""The documentation site builds without a warning, its links lead somewhere, and reading it fetches nothing."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
_LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")
# A path in the text: a file of the checkout, given as code.
_PATH = re.compile(r"`((?:neardup_platform|assets|jobs|sensors|resources|samples|scripts|tests|docs)/[\w./-]+)`")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link to a page or an anchor that does not exist is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


class _Fetched(HTMLParser):
    """Addresses that a browser fetches while it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.urls.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.urls.append(given.get("href") or "")


def test_reading_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        parser = _Fetched()
        parser.feed(page.read_text())
        assert [url for url in parser.urls if re.match("(https?:)?//", url)] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"@import|url\(['\"]?(https?:)?//", style.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_and_paths_exist(document: Path) -> None:
    """For readers of the repository; includes files outside docs/, which the site does not check."""
    text = document.read_text()
    links = [link.partition("#")[0] for link in _LINK.findall(text)]
    missing = [link for link in links if not (document.parent / link).exists()]
    if "adr" not in document.parts and document.name != "CHANGELOG.md":  # these name the files of their time
        missing += [path for path in _PATH.findall(text) if not (ROOT / path).exists()]
    assert missing == []
