"""The same over TLS, with the board's own certificate at a broker that lets nobody else in."""

from board_tests.report import Report
from board_tests.test_2_updates import measured
from board_tests.world import World

TLS = True


def test_a_good_update_is_accepted_over_tls_with_a_client_certificate(
    world: World, report: Report
) -> None:
    ended = world.update("tls", task="heap")
    assert ended.status == "SUCCEEDED", ended.details
    assert world.device.facts()["running"][4] != world.start
    report.measured["MQTT over TLS"] = measured(ended, world)
    report.weigh({f"{name}, TLS": value for name, value in ended.told["heap"].items()})
    world.go_back()
