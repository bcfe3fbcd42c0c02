"""The benchmark of many boards: its boards keep the agent's rules, and count what is true."""

from __future__ import annotations

from pathlib import Path

import pytest
from link_fixtures import need

from bench.fleet import kept
from bench.fleet.orders import BLOCK, WINDOW, Window, index_of, is_block, message
from bench.fleet.patience import LEAST, MOST, Patience
from bench.fleet.run import SIZE, Fleet
from bench.run import BenchError
from demo.stack import Stack


def test_the_first_wait_is_the_setting_or_four_round_trips_whichever_is_longer() -> None:
    patience = Patience(lambda: 0)
    assert patience.wait() == LEAST
    patience.measured(0.5)
    assert patience.wait() == LEAST
    patience.measured(4.5)  # the smoothed round trip moves a quarter of the way
    assert patience.wait() == 4 * 1.5
    patience.measured(1000)
    assert patience.wait() == MOST


def test_each_repeat_doubles_the_wait_up_to_a_minute_until_a_round_trip_is_seen() -> None:
    patience = Patience(lambda: 0)
    waits = []
    for _ in range(8):
        waits.append(patience.wait())
        patience.repeated()
    assert waits == [2.5, 5, 10, 20, 40, MOST, MOST, MOST]
    patience.measured(0.1)
    assert patience.wait() == LEAST


def test_a_random_part_of_up_to_a_quarter_is_added() -> None:
    assert Patience(lambda: 1).wait() == 1.25 * LEAST
    assert Patience(lambda: 0.5).wait() == 1.125 * LEAST


def test_a_window_takes_each_of_its_blocks_once_and_ends_with_the_object() -> None:
    window = Window(10)
    window.move(1)
    assert (window.take(0), window.take(0), window.whole, window.last) == (True, False, True, False)
    window.move(WINDOW)
    assert not window.take(9)
    assert all(window.take(index) for index in range(1, 9))
    window.move(WINDOW)
    assert (window.take(9), window.whole, window.last) == (True, True, True)


@pytest.mark.parametrize("index", [0, 23, 24, 255, 256, 70_000])
def test_a_block_is_known_by_its_number_and_told_from_other_messages(index: int) -> None:
    data = b"..." + message(index, bytes(BLOCK))
    assert is_block(data, 3, len(data))
    assert index_of(data, 3) == index
    assert not is_block(data, 3, 3 + BLOCK - 1)
    with pytest.raises(ValueError):
        index_of(b"{" + bytes(BLOCK), 0)


def test_a_price_that_grew_by_more_than_a_quarter_is_an_error_with_both_numbers() -> None:
    assert "8.00 times" in kept.check(8.0, 8.0)
    assert "9.90 times" in kept.check(9.9, 8.0)
    with pytest.raises(BenchError, match=r"10\.10 times .* 8\.00 is kept"):
        kept.check(10.1, 8.0)


def test_the_kept_price_is_written_and_read(tmp_path: Path) -> None:
    kept.write(8.123, tmp_path / "kept.json")
    assert kept.read(tmp_path / "kept.json") == 8.12
    assert kept.read() > 1


@pytest.mark.slow
@pytest.mark.parametrize("tls", [False, True])
def test_light_boards_do_the_whole_way_and_the_service_knows_it(tmp_path: Path, tls: bool) -> None:
    need("mosquitto")
    with Stack(tmp_path / "stack", tls=tls) as stack:
        fleet = Fleet(stack, ["board-1"], [5])
        load = fleet.start(5, 60)
        assert (load.told.succeeded, load.told.refused, load.told.lost) == (5, 0, 0)
        assert load.told.new == 5 * SIZE // BLOCK
        assert load.sent >= load.told.new
        job = stack.clients.iot.describe_job(jobId="start-5")["job"]
        assert job["status"] == "COMPLETED"
        assert fleet.bare(1, 0.5).told.new > WINDOW
        if not tls:
            assert fleet.told(20) < 20
