import logging
import logging.config
from contextlib import contextmanager

import pytest
from mode.utils.logging import setup_logging

from streamapp.observe.logs import CONFIG, LineFormatter, Sparing


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


@contextmanager
def logging_of_a_worker():
    """It writes to the stream that is stderr now."""
    root, level = logging.root.handlers[:], logging.root.level
    setup_logging(loglevel="INFO", logging_config=dict(CONFIG))
    try:
        yield
    finally:
        logging.root.handlers[:] = root
        logging.root.setLevel(level)
        logging.getLogger("httpx").setLevel(logging.NOTSET)
        for name in CONFIG["loggers"]:
            logging.getLogger(name).filters.clear()


def test_fausts_worker_takes_the_configuration(capsys):
    with logging_of_a_worker():
        logging.getLogger("streamapp.test").info("hello", extra={"action": "greeted"})
        logging.getLogger("httpx").info("HTTP Request: POST")
    out = "".join(capsys.readouterr())
    assert "INFO streamapp.test: hello action=greeted" in out
    assert "HTTP Request" not in out


def test_what_kafkas_client_says_again_and_again_is_written_now_and_then(capsys):
    def say(name, message, at):
        record = {"name": name, "levelno": logging.ERROR, "levelname": "ERROR", "msg": message, "created": at}
        logging.getLogger(name).handle(logging.makeLogRecord(record))

    with logging_of_a_worker():
        for quarter in range(100):
            say("aiokafka.consumer.fetcher", "node 1 is away", 1000 + quarter / 4)
            say("faust.test", "mine", 1000 + quarter / 4)
        say("aiokafka.consumer.fetcher", "node 2 is away", 1025)
    lines = "".join(capsys.readouterr()).splitlines()
    said = [line.split("fetcher: ")[1] for line in lines if "fetcher" in line]
    again = "node 1 is away (and 39 times more since it was last written)"
    assert said == ["node 1 is away", again, again, "node 2 is away"]
    assert sum("mine" in line for line in lines) == 100


def test_lines_that_are_not_said_again_are_forgotten():
    sparing = Sparing()
    for second in range(1000):
        assert sparing.filter(logging.makeLogRecord({"name": "aiokafka", "msg": f"{second}", "created": second}))
    assert len(sparing._told) <= 61


def test_a_clock_that_is_set_back_hides_nothing():
    sparing = Sparing()
    for at in (1000.0, 10.0):
        assert sparing.filter(logging.makeLogRecord({"name": "aiokafka", "msg": "gone", "created": at}))
