"""Every end of an update, over plain MQTT, in the order of the file.

Each test finds the board in its start slot without a test under way, and leaves it so.
"""

from board_tests import kept
from board_tests.device import Device
from board_tests.report import Report
from board_tests.world import Outcome, World
from twinslot.formats import otadata

# Bytes of heap: what the agent may take at rest, and the runner of an application under test.
AGENT_AT_REST = 30 * 1024
RUNNER = 2048


def test_a_good_update_is_accepted(world: World, report: Report) -> None:
    ended = world.update("good")
    assert ended.status == "SUCCEEDED", ended.details
    assert world.device.facts()["running"][4] != world.start
    assert newest(world.device).state == otadata.VALID
    report.measured["plain MQTT"] = measured(ended, world)
    report.weigh(ended.told["heap"])
    report.measured["heap_taken_idle"] = ended.told["taken"]["idle"]
    kept_by_runner = ended.told["rest"]["loaded"] - ended.told["taken"]["loaded"]
    report.measured["heap_taken_by_the_runner"] = kept_by_runner
    assert kept_by_runner <= RUNNER
    report.measured["heap_taken_after_an_update"] = ended.told["rest"]["after"]
    report.measured["agent_made_ms"] = ended.told["taken"]["agent_made_ms"]
    world.go_back()


def test_the_agent_at_rest_takes_little_heap(world: World, report: Report) -> None:
    kept.set_journal(world.device)  # as it is at first: history takes heap, too
    report.measured["heap_taken_agent"] = taken = world.device.heap_of_the_agent()
    world.restart()
    assert taken <= AGENT_AT_REST


def test_a_failing_self_test_is_rolled_back(world: World, report: Report) -> None:
    ended = world.update("self_test", task="heap")
    check_rolled_back(world, ended, "self_test")
    assert "fails its self-test on purpose" in ended.details["detail"]
    report.weigh(ended.told["heap"])
    report.measured["heap_taken_by_an_image"] = ended.told["taken"]["peak"]


def test_a_crash_is_rolled_back(world: World) -> None:
    check_rolled_back(world, world.update("crash"), "crash")


def test_a_hang_is_rolled_back_by_the_deadline(world: World) -> None:
    check_rolled_back(world, world.update("hang"), "no_wifi")


def test_an_application_that_feeds_a_watchdog_of_its_own_meets_the_deadline(world: World) -> None:
    check_rolled_back(world, world.update("own_watchdog"), "no_answer")


def test_an_image_that_reaches_no_broker_is_rolled_back(world: World) -> None:
    ended = world.update("no_network")
    check_rolled_back(world, ended, "no_broker")
    assert "reaches no broker, on purpose" in ended.details["detail"]


def test_a_reset_in_mid_download_loses_little(world: World, report: Report) -> None:
    ended = world.update("interrupted", task="cut")
    assert ended.status == "SUCCEEDED", ended.details
    cut, again, total = (ended.told[name] for name in ("cut_at", "received", "blocks"))
    report.measured["blocks received again after a reset"] = cut + again - total
    report.measured["reset after"] = f"{cut} of {total} blocks"
    # One checkpoint, and one request; the answers of the service count as well.
    assert again < total - cut + 64
    world.go_back()


def check_rolled_back(world: World, ended: Outcome, cause: str) -> None:
    """Both ends: what the service recorded, and what runs."""
    assert ended.status == "FAILED"
    assert ended.details["cause"] == cause, ended.details
    facts = world.device.facts()
    assert facts["running"][4] == world.start
    record = newest(world.device)
    assert record.state == otadata.ABORTED
    assert record.slot(2) != facts["running"][1] - 0x10
    world.restart()


def newest(device: Device) -> otadata.Record:
    """Return otadata's record with the higher sequence."""
    records = [record for record in device.records() if record]
    return max(records, key=lambda record: record.sequence)


def measured(ended: Outcome, world: World) -> dict[str, object]:
    """Return size, seconds per phase and KB/s of an update.

    Only what is timed is timed: "network" is the remainder, with everything that the board did
    beside the other phases. What the test application took to sample the heap is left out.
    """
    spent = {name: us / 1e6 for name, us in ended.told["us"].items()}
    total = spent.pop("total") - spent.pop("sampling", 0.0)
    spent.pop("first_block", None)
    spent["network"] = total - sum(spent.values())
    if ended.job.startswith("heap-"):
        del spent["verify"]  # without the collections of its own it is no true time
    size = len(world.own)
    return {
        "bytes": size,
        "total_s": round(total, 2),
        "KB/s": round(size / 1024 / total, 1),
        "seconds": {name: round(value, 6) for name, value in spent.items()},
    }
