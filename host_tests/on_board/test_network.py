"""The board joins the network that its settings name, or says in a sentence why it cannot."""

import hardware
import network
from chip_bench import Bench
from expect import raises
from ota import defaults, errors, wifi

HOME = {"ssid": "sim", "password": "right one"}


def board():
    Bench()
    hardware.board.password = "right one"
    return network.WLAN(network.STA_IF)


def fault(networks):
    """Return what the board says of networks that it cannot join."""
    return str(raises(OSError, wifi.join, {"wifi": networks}))


# -- Wi-Fi ----------------------------------------------------------------------------------------


def test_a_board_joins_its_network_and_tries_again_without_end_from_then_on():
    station = board()
    wifi.join({"wifi": HOME})
    assert station.isconnected()
    assert station._station.reconnects == -1
    wifi.join({"wifi": {"ssid": "another"}})
    assert station.isconnected(), "it is in one"


def test_a_board_that_cannot_join_says_why_and_of_which_network():
    station = board()
    assert fault({"ssid": "sim", "password": "mistyped"}) == "no Wi-Fi sim: the password is wrong"
    assert station.status() == 202, "boot.py asks the chip at the deadline"
    assert fault({"ssid": "sim"}) == "no Wi-Fi sim: the password is wrong"
    assert fault({"ssid": "sin"}) == "no Wi-Fi sin: no access point has this name"


def test_of_several_networks_the_first_that_lets_it_in_is_joined():
    station = board()
    wifi.join({"wifi": [{"ssid": "away"}, HOME]})
    assert station.isconnected()
    board()
    assert fault([{"ssid": "away"}, {"ssid": "sim", "password": "x"}]) == (
        "no Wi-Fi away: no access point has this name; sim: the password is wrong"
    )


def test_an_address_may_be_given():
    station = board()
    addresses = ["192.168.4.7", "255.255.255.0", "192.168.4.1", "192.168.4.2"]
    wifi.join({"wifi": dict(HOME, ifconfig=addresses)})
    assert station.ifconfig() == tuple(addresses)
    board()
    for wrong in (addresses[:3], 7):
        error = raises(errors.SettingsError, wifi.join, {"wifi": dict(HOME, ifconfig=wrong)})
        assert "wifi.ifconfig" in str(error)


def test_a_network_without_a_name_is_a_wrong_setting():
    board()
    for wrong in (None, 7, {}, {"ssid": ""}, {"ssid": 7}, [HOME["ssid"]]):
        error = raises(errors.SettingsError, wifi.join, {"wifi": wrong})
        assert "wifi.ssid" in str(error), wrong


def test_every_reason_has_its_words():
    assert wifi.reason(15) == wifi.reason(202) == "the password is wrong"
    assert wifi.reason(77) == "reason 77"


# -- settings that nobody reads -------------------------------------------------------------------


def test_a_setting_that_nobody_reads_is_told_with_the_nearest_one():
    given = {
        "self_tests_s": 30,
        "windows": 4,
        "lamp": 1,
        "broker": {"host": "x", "keep_alive": 20},
        "wifi": [{"ssid": "a"}, {"sid": "b"}],
    }
    assert sorted(defaults.doubts(given, ())) == [
        "setting broker.keep_alive is unknown: is broker.keepalive meant?",
        "setting lamp is unknown",
        "setting self_tests_s is unknown: is self_test_s meant?",
        "setting wifi.sid is unknown: is wifi.ssid meant?",
        "setting windows is unknown: is window meant?",
    ]


def test_an_application_declares_its_own_settings():
    assert defaults.doubts({"lamp": 1, "thing": "a"}, ("lamp",)) == []
