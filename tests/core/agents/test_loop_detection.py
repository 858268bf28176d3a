"""The loop detection: equal calls with equal results, in a row."""

from parley_daemon.core.agents.loop_detection import ASK_AT, STOP_AT, LoopDetection


def test_it_asks_at_the_third_equal_call_and_stops_at_the_fifth() -> None:
    detection, asked, stopped = LoopDetection(), list[int](), list[int]()
    for number in range(1, 7):
        if detection.must_ask("read a"):
            asked.append(number)
        if detection.must_stop("read a"):
            stopped.append(number)
        detection.note("read a", "the same")
    assert (asked[0], stopped[0]) == (ASK_AT, STOP_AT) == (3, 5)


def test_calls_in_between_do_not_hide_a_repetition() -> None:
    detection = LoopDetection()
    for _ in range(2):
        detection.note("read a", "the same")
        detection.note("read b", "other")
    assert detection.must_ask("read a")
    assert not detection.must_ask("read c")


def test_another_result_begins_a_new_count() -> None:
    detection = LoopDetection()
    for result in ("1", "1", "2"):
        detection.note("poll", result)
    assert detection.count("poll") == 1


def test_a_refusal_counts_and_hides_nothing() -> None:
    detection = LoopDetection()
    detection.note("read a", "the same")
    detection.note("read a", "the same")
    detection.note_refusal("read a")
    detection.note_refusal("read a")
    assert detection.must_stop("read a")
