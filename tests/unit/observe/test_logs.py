import logging
import logging.config

import pytest
from mode.utils.logging import setup_logging

from streamapp.observe.logs import CONFIG, LineFormatter


def line(message="run created", *args, name="streamapp.dispatch.trigger", exc_info=None, **extra):
    record = logging.makeLogRecord(
        {"name": name, "msg": message, "args": args, "levelname": "INFO", "created": 0.5, "exc_info": exc_info} | extra
    )
    return LineFormatter().format(record)


def test_a_line_tells_when_who_what_and_about_what():
    assert line("run created on %s", "probe", action="run_created", command_id="c1", attempt=1) == (
        "1970-01-01T00:00:00.500Z INFO streamapp.dispatch.trigger: run created on probe "
        "action=run_created command_id=c1 attempt=1"
    )


def test_values_with_spaces_are_quoted():
    assert line(key="two words", empty="", none=None).endswith('key="two words" empty="" none=None')
    assert line(key="größe").endswith("key=größe")
    assert line(key="a größe").endswith('key="a größe"')


@pytest.mark.parametrize("bad", ["a\nb", "a\r\nb", "\x1b[31mred", "a\u2028b", "a\x85b", "\u202egnp", "\ud800"])
def test_what_others_wrote_starts_no_line_and_moves_no_cursor(bad):
    for text in (line(command_id=bad), line("detail: %s", bad)) if bad.isascii() else (line(command_id=bad),):
        assert len(text.splitlines()) == 1
        assert text.isprintable()
        text.encode()


def test_tables_of_faust_stay_tables():
    assert line("+--+\n|a |\n+--+", name="faust.transport").endswith("+--+\n|a |\n+--+")


def test_an_error_has_its_traceback():
    try:
        raise ValueError("boom")
    except ValueError as error:
        text = line("it failed", exc_info=(type(error), error, error.__traceback__), action="failed")
    assert text.splitlines()[0].endswith("it failed action=failed")
    assert text.splitlines()[-1] == "ValueError: boom"


def test_fausts_worker_takes_the_configuration(capsys):
    root, level = logging.root.handlers[:], logging.root.level
    try:
        setup_logging(loglevel="INFO", logging_config=dict(CONFIG))
        logging.getLogger("streamapp.test").info("hello", extra={"action": "greeted"})
        logging.getLogger("httpx").info("HTTP Request: POST")
    finally:
        logging.root.handlers[:] = root
        logging.root.setLevel(level)
        logging.getLogger("httpx").setLevel(logging.NOTSET)
    out = "".join(capsys.readouterr())
    assert "INFO streamapp.test: hello action=greeted" in out
    assert "HTTP Request" not in out
