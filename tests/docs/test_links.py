"""Links within the documentation lead somewhere, and the tests that it names exist."""

import re
from pathlib import Path

import pytest

from tests.support.markdown import PAGES, ROOT, anchors, links, name_of

_TEST = re.compile(r"tests/[\w/.-]+\.py(?:::\w+)?")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert ROOT in target.parents or target == ROOT, f"{link} leads out of the repository"
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_tests_that_are_named_exist(page: Path) -> None:
    for name in _TEST.findall(page.read_text()):
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), name
        assert not function or f"def {function}(" in (ROOT / path).read_text(), name


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        seen.add(page)
        targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if ":" not in link]
        to_read += [target for target in targets if target.suffix == ".md" and target not in seen]
    assert set(PAGES) <= seen, [name_of(page) for page in set(PAGES) - seen]
