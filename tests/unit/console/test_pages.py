import re
from html.parser import HTMLParser

import pytest

from streamapp.console.fields import command_fields
from streamapp.console.names import path_of
from streamapp.console.rendering import Html
from streamapp.core.model import Action, Original, Reason, Status, Timings
from tests.support.builders import AT, SECOND, command, entry, instructed, policy, received, rejection

HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=\"alert('2')\">{{ 7 * 7 }}"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def parsed(page):
    tags = Tags()
    tags.feed(page)
    tags.close()
    tags.text = re.sub(r"\s+", " ", tags.text)
    return tags


async def test_the_list(bench):
    bench.fold(received(0, key=b"order-1"))
    bench.fold(received(1, key=None, at=AT + SECOND))
    page = parsed(await bench.page("/"))
    assert "order-1" in page.text
    assert "no key" in page.text
    assert "waits for its start, which comes next" in page.text
    assert ("a", {"href": "/commands/c0"}) in page.tags
    assert page.text.index("c1") < page.text.index("c0")


async def test_an_empty_list(bench):
    assert "No commands yet." in await bench.page("/")
    assert "No command is like this." in await bench.page("/?status=failed")


async def test_the_form_keeps_what_was_asked_for(bench):
    bench.fold(received(0, key=b"\xff"))
    page = parsed(await bench.page("/?key=_w&base64=1&status=accepted&dag=probe"))
    values = {attributes["name"]: attributes.get("value") for tag, attributes in page.tags if tag == "input"}
    assert values == {"key": "_w", "base64": "1", "dag": "probe", "id": None}
    assert ("option", {"value": "accepted", "selected": None}) in page.tags
    assert "c0" in page.text


async def test_what_can_be_asked_for_is_where_a_command_can_stand(bench):
    page = parsed(await bench.page("/"))
    offered = [attributes["value"] for tag, attributes in page.tags if tag == "option"]
    assert offered[:5] == ["", "accepted", "triggered", "attempt_failed", "blocked"]
    assert "run_ended" not in offered
    assert "instruction_applied" not in offered


async def test_more_than_is_shown_is_said(bench):
    bench.store(*(entry(offset, key=b"%d" % offset) for offset in range(150)))
    assert "There may be more than the 100 shown" in await bench.page("/")
    bench.store(entry(7, key=b"7", status=Status.BLOCKED))
    assert "There may be more" not in await bench.page("/?status=failed")


async def test_a_command(bench):
    timings = Timings(accepted_at=AT, triggered_at=AT + SECOND, started_at=AT + 2 * SECOND, ended_at=AT + 3 * SECOND)
    about = {"correlation_id": "order-17", "duplicate_of": None, "timings": timings}
    bench.store(entry(3, status=Status.FAILED, reason=Reason.RUN_FAILED, detail="the run failed", attempt=1, **about))
    page = parsed(await bench.page("/commands/c3"))
    for text in (
        "c3",
        "app.probe",
        "run_failed: the run failed",
        "order-17",
        "commands-0-3",
        "12:00:03.000",
        "1, 1 of 1",
    ):
        assert text in page.text
    assert ("a", {"href": "/api/v1/commands/c3"}) in page.tags


async def test_a_link_to_the_run(bench):
    html = Html("shop", "https://airflow.example/base")
    fields = command_fields(entry(0, run_id="cmd__a~2f__1.1", policy=policy(dag_id="a/b c")), None)
    assert html.run_url(fields) == "https://airflow.example/base/dags/a%2Fb%20c/runs/cmd__a~2f__1.1"
    assert html.run_url(command_fields(entry(0), None)) is None
    page = html.page(
        "command.html", fields=fields | {"recorded_at": None, "params": None}, run_url=html.run_url(fields)
    )
    assert ("a", {"href": html.run_url(fields), "rel": "noreferrer"}) in parsed(page.body.decode()).tags


async def test_a_key(bench):
    bench.store(*(entry(offset) for offset in range(250)))
    bench.store(*(entry(300 + number, status=Status.SUCCEEDED) for number in range(60)))
    page = parsed(await bench.page("/keys/k"))
    assert "Only the front of the queue is shown." in page.text
    assert "Only the last ones are shown." in page.text
    assert "its turn: c0 (commands-0-0), the first of its key, waits for its start" in page.text
    assert ("a", {"href": "/api/v1/keys/k"}) in page.tags


async def test_a_key_with_nothing_left_to_do(bench):
    bench.store(entry(0, status=Status.SUCCEEDED))
    assert "Nothing waits or runs." in await bench.page("/keys/k")
    bench.store(entry(1, key=b"\xff"))
    page = await bench.page("/keys/_w==?base64=1")
    assert "Nothing has ended yet." in page
    assert "shown in base64" in page


async def test_the_workers(bench):
    bench.fold(received(0))
    bench.gate.close("ready")
    page = parsed(await bench.page("/workers")).text
    for text in (
        bench.url,
        "ready",
        "commands held: ready",
        "Partitions0, 1",
        "1 queued",
        "0 of 1, at most 8",
        "1 accepted",
    ):
        assert text in page
    bench.change(restoring=True)
    bench.partitions.drain()
    assert "the table is being restored" in await bench.page("/workers")


async def test_what_is_not_there(bench):
    assert "No such command is known." in await bench.page("/commands/nobody", status=404)
    assert "No such key is known." in await bench.page("/keys/nobody", status=404)
    assert "404" in await bench.page("/nothing", status=404)
    assert "limit must be a number" in await bench.page("/?limit=0", status=400)


async def test_every_page_has_a_title_of_its_own(bench):
    bench.fold(received(0))
    paths = {"/": 200, "/commands/c0": 200, "/keys/k": 200, "/workers": 200, "/nothing": 404, "/keys/nobody": 404}
    titles = [re.findall("<title>(.*)</title>", await bench.page(path, status)) for path, status in paths.items()]
    assert titles == [
        ["Commands · shop"],
        ["c0 · shop"],
        ["Key k · shop"],
        ["Workers · shop"],
        ["404 · shop"],
        ["No such key is known. · shop"],
    ]


async def test_an_id_leads_to_its_command(bench):
    bench.fold(received(0, content=command(id="a/b?c ")))
    assert '<h1 class="id">a/b?c </h1>' in await bench.page("/?key=&status=&dag=&id=a%2Fb%3Fc+")
    assert "No such command is known." in await bench.page("/?id=nobody", status=404)


async def test_a_hold_is_shown_also_where_its_key_has_no_commands(bench):
    bench.fold(instructed(Action.HOLD, key=b"k", by="ann", reason="mail is down"))
    page = parsed(await bench.page("/keys/k")).text
    assert "On hold since 2026-01-01 12:00:00.000 by ann: mail is down" in page
    assert "Nothing waits or runs." in page
    bench.fold(instructed(Action.RELEASE, offset=1, key=b"k", control_id="another"))
    assert "No such key is known." in await bench.page("/keys/k", status=404)


async def test_attempts_that_do_not_count_are_not_more_than_there_may_be(bench):
    bench.store(entry(0, attempt=3, unstarted=2, policy=policy(max_attempts=1)))
    assert "1, 3 of 1" not in parsed(await bench.page("/commands/c0")).text


async def test_what_would_look_like_another_text_is_escaped(bench):
    hidden = {"detail": "\x1b[31m\r\nred", "status": Status.FAILED, "params": '{"a":\n"\u202e"}'}
    bench.store(entry(0, key="rtl-\u202elive\u200b".encode(), **hidden))
    shown = "rtl-\\u202elive\\u200b"
    assert shown in parsed(await bench.page("/")).text
    assert "\\x1b[31m\\r\\nred" in parsed(await bench.page("/")).text
    assert "<pre>{&#34;a&#34;:\n&#34;\\u202e&#34;}</pre>" in await bench.page("/commands/c0")
    page = parsed(await bench.page("/?key=rtl-%E2%80%AElive%E2%80%8B"))
    values = [attributes.get("value") for tag, attributes in page.tags if tag == "input"]
    assert values[0] == "rtl-\u202elive\u200b"  # the form asks for it again
    assert shown in page.text


async def test_letters_and_emoji_that_are_put_together_stay_so(bench):
    bench.store(entry(0, key="👩\u200d👧 a\u200cb".encode()))
    assert "👩\u200d👧 a\u200cb" in parsed(await bench.page("/")).text


async def test_a_page_refreshes_itself_when_told_to(bench):
    assert "http-equiv" not in await bench.page("/?status=failed")
    page = await bench.page("/?status=failed&refresh=5")
    assert ("meta", {"http-equiv": "refresh", "content": "5"}) in parsed(page).tags
    assert ("a", {"href": "?status=failed"}) in parsed(page).tags


@pytest.mark.parametrize("path", ["/", "/commands/", "/keys/", "/workers"])
async def test_nothing_hostile_becomes_a_tag(bench, path):
    bench.followed = {HOSTILE: 1}
    bench.store(
        entry(
            0,
            id=HOSTILE,
            key=HOSTILE.encode(),
            command=f"app.{HOSTILE}",
            policy=policy(dag_id=HOSTILE),
            params=HOSTILE,
            detail=HOSTILE,
            correlation_id=HOSTILE,
            causation_id=HOSTILE,
            original=Original(HOSTILE.encode()),
        ),
    )
    if path in {"/commands/", "/keys/"}:
        path = path_of(path.rstrip("/"), HOSTILE.encode())
    assert "{{ 7 * 7 }}" in parsed(await bench.page(path)).text
    for way in (path, path_with(path, "refresh=5"), path_with(path, "dag=%22%3E%3Cscript%3E")):
        tags = parsed(await bench.page(way))
        assert not {tag for tag, _ in tags.tags} & {"script", "img", "style", "iframe", "object"}
        assert not any(name.startswith("on") for _, attributes in tags.tags for name in attributes)
        for tag, attributes in tags.tags:
            for name in ("href", "src", "action"):
                if name in attributes:
                    assert re.match(r"[/?]", attributes[name]) or tag == "a", (tag, attributes)


def path_with(path, query):
    return f"{path}{'&' if '?' in path else '?'}{query}"


async def test_nothing_is_loaded_from_elsewhere(bench):
    bench.fold(received(0))
    for path in ("/", "/commands/c0", "/keys/k", "/workers"):
        for tag, attributes in parsed(await bench.page(path)).tags:
            for name in ("href", "src", "action"):
                assert re.match(r"[/?]", attributes.get(name, "/")), (path, tag, attributes)
    style = await bench.ask("/static/console.css")
    assert style.status == 200
    assert "url(" not in await style.text()
    assert "@import" not in await style.text()
    assert (await bench.ask("/static/icon.svg")).content_type == "image/svg+xml"


async def test_static_files_and_nothing_beside_them(bench):
    for path in ("/static/", "/static/../pages.py", "/static/%2e%2e/pages.py", "/static/..%2fpages.py"):
        assert (await bench.ask(path)).status in {403, 404}


async def test_a_rejected_record(bench):
    bench.fold(received(0, content=rejection(Reason.TOO_LARGE, detail="300000 bytes", id="c0")))
    bench.fold(received(1, content=command(id="c0")))
    page = parsed(await bench.page("/")).text
    assert "too_large: 300000 bytes" in page
