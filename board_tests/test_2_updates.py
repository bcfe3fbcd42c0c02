"""Every end of an update, over plain MQTT, in the order of the file.

Each test finds the board in its start slot without a test under way, and leaves it so.
"""

from collections.abc import Iterator

import pytest

from board_tests import world as worlds
from board_tests.conftest import Options
from board_tests.device import Device, until
from board_tests.report import Report
from board_tests.world import THING, Outcome, World

_VALID, _ABORTED = 2, 4


@pytest.fixture(scope="module")
def world(device: Device, options: Options, own: bytes, report: Report) -> Iterator[World]:
    running = report.facts["running"]
    chip = int.from_bytes(own[12:14], "little")
    folder = options.folder / "plain"
    with worlds.started(folder, options, chip, running[3], tls=False) as stack:
        yield World.of(device, stack, own, options)


def test_a_good_update_is_accepted(world: World, report: Report) -> None:
    ended = world.update("good")
    assert ended.status == "SUCCEEDED", ended.details
    assert world.device.facts()["running"][4] != world.start
    newest = max(world.device.records(), key=lambda record: record.sequence)
    assert newest.state == _VALID
    report.measured["plain MQTT"] = measured(ended, world)
    report.measured["heap"] = report.measured.get("heap", {}) | ended.told["heap"]
    world.go_back()


def test_a_failing_self_test_is_rolled_back(world: World) -> None:
    ended = world.update("self_test")
    check_rolled_back(world, ended, "self_test")
    assert "fails its self-test on purpose" in ended.details["detail"]


def test_a_crash_is_rolled_back(world: World) -> None:
    check_rolled_back(world, world.update("crash"), "crash")


def test_a_hang_is_rolled_back_by_the_watchdog(world: World) -> None:
    check_rolled_back(world, world.update("hang"), "watchdog")


def test_an_image_that_reaches_no_broker_is_rolled_back(world: World) -> None:
    check_rolled_back(world, world.update("no_network"), "no_network")


def test_a_reset_in_mid_download_loses_little(world: World, report: Report) -> None:
    job, since = world.publish("interrupted")

    def a_part_has_come() -> bool:
        assert not world.stack.finished(job, THING), "the update ended before it could be broken"
        return world.blocks_received(job)[0] >= 64  # the second report

    until(a_part_has_come, world.device, worlds.TRANSFER_S, "64 blocks")
    world.device.restart()
    ended = world.finish(job, since)
    assert ended.status == "SUCCEEDED", ended.details
    again, total = ended.told["received"], ended.told["blocks"]
    report.measured["blocks received again after a reset"] = f"{again} of {total}"
    assert again < total * 0.9
    world.go_back()


def check_rolled_back(world: World, ended: Outcome, cause: str) -> None:
    """Both ends: what the service recorded, and what runs."""
    assert ended.status == "FAILED"
    assert ended.details["cause"] == cause, ended.details
    facts = world.device.facts()
    assert facts["running"][4] == world.start
    newest = max(world.device.records(), key=lambda record: record.sequence)
    assert newest.state == _ABORTED
    assert newest.slot != facts["running"][1] - 0x10
    world.restart()


def measured(ended: Outcome, world: World) -> dict[str, object]:
    """Return size, seconds per phase and KB/s of an update."""
    spent = {name: us / 1e6 for name, us in ended.told["us"].items()}
    total = spent.pop("total")
    spent["network"] = max(0.0, total - sum(spent.values()))
    size = len(world.own)
    return {
        "bytes": size,
        "total_s": round(total, 2),
        "KB/s": round(size / 1024 / total, 1),
        "seconds": {name: round(value, 3) for name, value in spent.items()},
        "thing": THING,
    }
