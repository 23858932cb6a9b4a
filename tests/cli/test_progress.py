"""What a task tells while it runs."""

from __future__ import annotations

import io
import json
import logging
import os
import threading

import pytest

from facefusion_runner import logs
from facefusion_runner.bar import BarReporter
from facefusion_runner.progress import (
    JsonReporter,
    LineReporter,
    Meter,
    Progress,
    QuietReporter,
    Reporter,
    duration,
    make_reporter,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Recorder:
    def __init__(self) -> None:
        self.events: list[Progress] = []

    def progress(self, event: Progress) -> None:
        self.events.append(event)

    def warning(self, message: str) -> None: ...

    def close(self) -> None: ...


def metered(total: int | None, *, start: int = 0, steps: int, seconds: float) -> Progress:
    clock, recorder = Clock(), Recorder()
    meter = Meter(recorder, "swap", total, start=start, clock=clock)
    for _ in range(steps):
        clock.now += seconds
        meter.advance()
    return recorder.events[-1]


def test_rate_and_time_left() -> None:
    assert metered(100, steps=20, seconds=0.25) == Progress("swap", 20, 100, 4.0, 20.0)


def test_without_a_total_there_is_a_rate_and_no_time_left() -> None:
    assert metered(None, steps=8, seconds=0.5) == Progress("swap", 8, None, 2.0, None)


def test_what_was_done_before_does_not_make_the_rate_better() -> None:
    assert metered(100, start=90, steps=5, seconds=1) == Progress("swap", 95, 100, 1.0, 5.0)


def test_the_rate_follows_a_change_of_speed() -> None:
    clock, recorder = Clock(), Recorder()
    meter = Meter(recorder, "swap", clock=clock)
    for seconds in [1.0] * 100 + [0.1] * 200:
        clock.now += seconds
        meter.advance()
    assert recorder.events[-1].rate == pytest.approx(10)


def test_a_meter_without_a_clock_tick_knows_no_rate() -> None:
    assert metered(5, steps=1, seconds=0) == Progress("swap", 1, 5, None, None)


def test_lines_come_at_the_start_every_few_seconds_and_at_the_end() -> None:
    clock, stream = Clock(), io.StringIO()
    with LineReporter(stream, clock=clock) as reporter:
        reporter.progress(Progress("checking"))
        meter = Meter(reporter, "swap", 100, clock=clock)
        for _ in range(100):
            clock.now += 0.1
            meter.advance()
        reporter.done("out.mp4: done", {})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "checking"
    assert lines[1] == "swap: 0 of 100 frames"
    assert lines[2] == "swap: 50 of 100 frames, 10.0 frames/s, 0:05 left"
    assert lines[3] == "swap: 100 of 100 frames, 10.0 frames/s, 0:00 left"
    assert lines[4:] == ["out.mp4: done"]


def test_a_download_counts_megabytes() -> None:
    clock, stream = Clock(), io.StringIO()
    meter = Meter(LineReporter(stream, "bytes", clock=clock), "yunet", 4_000_000, clock=clock)
    clock.now += 2
    meter.advance(4_000_000)
    assert stream.getvalue().splitlines()[-1] == "yunet: 4.0 MB of 4.0 MB, 2.0 MB/s, 0:00 left"


def test_json_is_one_object_a_line() -> None:
    clock, stream = Clock(), io.StringIO()
    with JsonReporter(stream, clock=clock) as reporter:
        meter = Meter(reporter, "swap", 2, clock=clock)
        clock.now += 0.5
        meter.advance(2)
        reporter.warning('a "quoted"\nwarning')
        reporter.done("out.mp4", {"output": "out.mp4", "frames": 2})
    assert [json.loads(line) for line in stream.getvalue().splitlines()] == [
        {"event": "progress", "stage": "swap", "frames": 0, "total": 2, "rate": None, "eta": None},
        {"event": "progress", "stage": "swap", "frames": 2, "total": 2, "rate": 4.0, "eta": 0.0},
        {"event": "warning", "message": 'a "quoted"\nwarning'},
        {"event": "done", "output": "out.mp4", "frames": 2},
    ]


def test_json_keeps_a_fast_task_from_flooding_its_reader() -> None:
    clock, stream = Clock(), io.StringIO()
    meter = Meter(JsonReporter(stream, clock=clock), "swap", 100_000, clock=clock)
    for _ in range(10_000):
        clock.now += 0.001
        meter.advance()
    assert 15 <= len(stream.getvalue().splitlines()) <= 25


@pytest.mark.parametrize("mode", ["bar", "lines", "json", "none"])
def test_a_warning_is_shown_once_in_every_mode(mode: str) -> None:
    output, error = io.StringIO(), io.StringIO()
    with make_reporter(mode, stdout=output, stderr=error) as reporter:  # type: ignore[arg-type]
        for _ in range(3):
            reporter.warning("10-bit becomes 8-bit [sic]")
    shown = output.getvalue() if mode == "json" else error.getvalue()
    assert shown.count("10-bit becomes 8-bit [sic]") == 1
    assert (error if mode == "json" else output).getvalue() == ""


def test_without_progress_only_warnings_are_shown() -> None:
    stream = io.StringIO()
    with make_reporter("none", stderr=stream) as reporter:
        reporter.progress(Progress("swap", 1, 2))
        reporter.warning("careful")
        reporter.done("done", {})
    assert stream.getvalue() == "warning: careful\n"


def test_auto_is_a_bar_on_a_terminal_and_lines_elsewhere() -> None:
    assert isinstance(make_reporter("auto", stderr=Terminal()), BarReporter)
    assert type(make_reporter("auto", stderr=io.StringIO())) is LineReporter
    assert type(make_reporter("none", stderr=Terminal())) is QuietReporter


def test_the_bar_gives_the_terminal_back_when_the_task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    stream = Terminal()
    with pytest.raises(RuntimeError), make_reporter("auto", stderr=stream) as reporter:
        reporter.progress(Progress("swap", 5, 10, 2.5, 2.0))
        reporter.warning("careful")
        raise RuntimeError
    shown = stream.getvalue()
    assert "5/10" in shown and "2.5 frames/s, 0:02 left" in shown and "warning: careful" in shown
    hide, show = "\x1b[?25l", "\x1b[?25h"
    assert hide in shown
    assert shown.rindex(show) > shown.rindex(hide)


def test_nothing_is_shown_after_the_end() -> None:
    stream = io.StringIO()
    reporter = LineReporter(stream)
    reporter.close()
    reporter.close()
    reporter.progress(Progress("swap", 1, 2))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("kind", [LineReporter, JsonReporter, BarReporter])
def test_a_reader_that_went_away_does_not_end_the_task(kind: type[LineReporter]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = os.fdopen(writing, "w", buffering=1)
    reporter: Reporter = kind(stream)
    reporter.progress(Progress("swap", 1, 1))
    reporter.warning("careful")
    reporter.close()
    stream.close()


def test_lines_of_several_threads_stay_whole() -> None:
    stream = io.StringIO()
    reporter = JsonReporter(stream, seconds=0)
    threads = [
        threading.Thread(target=lambda n=number: [reporter.warning(f"{n} {i}") for i in range(200)])  # type: ignore[misc]
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    messages = {json.loads(line)["message"] for line in stream.getvalue().splitlines()}
    assert len(messages) == 800


def test_log_records_are_shown_from_the_level_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("facefusion_runner.models.session")
    before = logging.getLogger("facefusion_runner").level
    for level, expected in (("debug", ["warn", "detail"]), ("warning", ["warn"]), ("error", [])):
        stream = io.StringIO()
        with LineReporter(stream) as reporter, logs.shown(level, reporter):
            logger.warning("warn")
            logger.debug("detail")
        shown = stream.getvalue() + capsys.readouterr().err
        assert [word for word in ("warn", "detail") if word in shown] == expected
    assert logging.getLogger("facefusion_runner").level == before


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
