"""The chip's modules behave as on the chip: forms of arguments, errors, what resets leave alone."""

import hardware
import machine
import network
from chip_bench import Bench, error_of, image
from esp32 import NVS, Partition
from layout import find

INVALID_ARG = (-258, "ESP_ERR_INVALID_ARG")
INVALID_SIZE = (-260, "ESP_ERR_INVALID_SIZE")


def other():
    return Partition("ota_1")


# -- partitions -------------------------------------------------------------------------------


def test_partitions_are_found_by_what_they_are():
    Bench()
    assert [p.info()[4] for p in Partition.find()] == ["ota_0", "ota_1"]
    assert Partition.find(label="nvs") == []  # the default type is APP
    assert Partition.find(Partition.TYPE_DATA, label="nvs")[0].info() == (
        1, 2, 0x9000, 0x5000, "nvs", False,
    )  # fmt: skip
    assert Partition.find(Partition.TYPE_DATA, subtype=0)[0].info()[4] == "otadata"
    assert error_of(Partition, "nothing").args[0] == 2
    error_of(Partition, 7, kind=ValueError)


def test_running_is_what_runs_and_boot_is_what_otadata_says():
    board = Bench()
    other().set_boot()
    assert Partition(Partition.RUNNING).info()[4] == "ota_0"
    assert Partition(Partition.BOOT).info()[4] == "ota_1"
    board.boot()
    assert Partition(Partition.RUNNING).info()[4] == "ota_1"
    assert Partition(Partition.RUNNING).get_next_update().info()[4] == "ota_0"


def test_two_arguments_erase_first_and_three_only_program():
    Bench()
    buf = bytearray(4)
    other().writeblocks(3, bytes(4096))
    other().writeblocks(3, b"\x55" * 4096)
    other().readblocks(3, buf, 100)
    assert buf == b"\x55" * 4
    assert error_of(other().writeblocks, 3, b"\xaa", 0).args[0] == -1
    other().ioctl(6, 3)
    other().writeblocks(3, b"\xaa", 4095)
    other().readblocks(3, buf, 4094)
    assert buf == b"\xff\xaa\xff\xff"


def test_two_arguments_want_whole_sectors():
    Bench()
    assert error_of(other().writeblocks, 0, bytes(4095)).args == INVALID_SIZE


def test_ranges_outside_the_partition_are_refused():
    Bench()
    blocks = other().ioctl(4, 0)
    assert (blocks, other().ioctl(5, 0)) == (0x1B0, 4096)
    assert error_of(other().readblocks, blocks + 1, bytearray(1)).args == INVALID_ARG
    assert error_of(other().readblocks, blocks, bytearray(1)).args == INVALID_SIZE
    assert error_of(other().ioctl, 6, blocks).args == INVALID_SIZE
    assert other().ioctl(99, 0) is None


def test_small_blocks_keep_their_neighbours():
    Bench()
    other().writeblocks(2, b"\x11" * 4096)
    small = Partition("ota_1", 512)
    small.writeblocks(17, b"\x22" * 512)
    buf = bytearray(4096)
    other().readblocks(2, buf)
    assert buf == b"\x11" * 512 + b"\x22" * 512 + b"\x11" * 3072
    assert small.ioctl(6, 0) == -22


def test_a_block_size_of_64_kib_crashes_the_chip():
    board = Bench()
    huge = Partition("ota_1", 65536)
    assert board.run(lambda: huge.ioctl(4, 0)) == machine.HARD_RESET


def test_writing_the_running_slot_kills_the_board():
    board = Bench()
    running = Partition(Partition.RUNNING)
    for action in (
        lambda: running.writeblocks(0, bytes(4096)),
        lambda: running.writeblocks(0x1AF, b"\x00", 0),
        lambda: running.ioctl(6, 0x1AF),
    ):
        assert board.run(action) == machine.HARD_RESET
        assert board.boot(machine.HARD_RESET) == 0


def test_only_a_slot_can_be_set_to_boot():
    Bench()
    assert error_of(Partition("vfs").set_boot).args[0] == -5379


def test_marking_valid_without_an_active_record_fails():
    board = Bench()
    board.flash.erase(find("otadata")[3] // 4096)
    assert error_of(Partition.mark_app_valid_cancel_rollback).args == (1, "ESP_FAIL")


# -- NVS --------------------------------------------------------------------------------------


def blob(key, namespace="ota"):
    buf = bytearray(4000)
    return bytes(buf[: NVS(namespace).get_blob(key, buf)])


def test_what_nvs_is_told_survives_a_power_cut():
    board = Bench()
    nvs = NVS("ota")
    nvs.set_blob("journal", b"x" * 1500)
    nvs.set_i32("count", -5)
    nvs.commit()
    board.boot(hardware.PWRON)
    assert blob("journal") == b"x" * 1500
    assert NVS("ota").get_i32("count") == -5


def test_nvs_errors_are_the_chips():
    Bench()
    nvs = NVS("ota")
    assert error_of(nvs.get_blob, "none", bytearray(4)).args == (-4354, "ESP_ERR_NVS_NOT_FOUND")
    assert error_of(nvs.erase_key, "none").args[0] == -4354
    nvs.set_blob("b", b"12345")
    assert error_of(nvs.get_blob, "b", bytearray(4)).args[0] == -4364
    assert error_of(nvs.get_i32, "b").args[0] == -4354
    assert error_of(nvs.set_i32, "k" * 16, 1).args[0] == -4361
    assert error_of(NVS, "n" * 16).args[0] == -4361
    nvs.erase_key("b")
    assert error_of(nvs.get_blob, "b", bytearray(5)).args[0] == -4354


def test_nvs_namespaces_do_not_meet():
    Bench()
    NVS("one").set_blob("key", b"1")
    NVS("two").set_blob("key", b"2")
    assert (blob("key", "one"), blob("key", "two")) == (b"1", b"2")


def test_nvs_that_is_full_says_so_and_keeps_what_it_has():
    Bench()
    nvs = NVS("ota")
    nvs.set_blob("a", b"a" * 4000)
    nvs.set_blob("b", b"b" * 3000)
    assert error_of(nvs.set_blob, "c", b"c" * 2000).args[0] == -4357
    assert blob("a") == b"a" * 4000
    assert blob("b") == b"b" * 3000


def test_the_same_value_again_costs_no_flash():
    board = Bench()
    NVS("ota").set_blob("key", b"value")
    before = board.flash.operations
    NVS("ota").set_blob("key", b"value")
    assert board.flash.operations == before


def test_a_cut_at_any_operation_leaves_the_old_value_or_the_new():
    """Through several compactions: every key is whole, all the time."""
    board = Bench()
    NVS("ota").set_blob("other", b"o" * 700)
    old = b"0" * 900
    NVS("ota").set_blob("key", old)
    for seed in range(25):
        board.flash.seed = seed
        new = bytes([65 + seed]) * (900 + seed)
        operation = 1
        while board.cut(lambda value=new: NVS("ota").set_blob("key", value), operation):
            board.boot(hardware.PWRON)
            assert blob("key") in (old, new)
            assert blob("other") == b"o" * 700
            operation += 1
        assert blob("key") == new
        old = new


# -- resets, watchdog, clock ------------------------------------------------------------------


def test_machine_reset_ends_the_program():
    board = Bench()
    assert board.run(machine.reset) == machine.HARD_RESET
    board.boot(machine.HARD_RESET)
    assert machine.reset_cause() == machine.HARD_RESET


def test_a_hung_board_is_bitten_by_its_watchdog():
    board = Bench()
    machine.WDT(timeout=3000)
    machine.WDT(timeout=2000000000)
    assert board.run(hardware.hang) == machine.WDT_RESET
    board.boot(machine.WDT_RESET)
    assert machine.reset_cause() == machine.WDT_RESET


def test_a_hung_board_without_watchdog_hangs_for_ever():
    Bench()
    error_of(hardware.hang, kind=hardware.Hung)


def test_the_watchdog_stays_armed_over_a_soft_reset_only():
    board = Bench()
    machine.WDT(timeout=3000)
    board.boot(hardware.SOFT)
    assert hardware.board.watchdog_ms == 3000
    board.boot(hardware.HARD)
    assert hardware.board.watchdog_ms is None


def test_rtc_memory_survives_every_reset_but_a_power_cut():
    board = Bench()
    machine.RTC().memory(b"note")
    for cause in (hardware.SOFT, hardware.HARD, hardware.WDT, hardware.DEEPSLEEP):
        board.boot(cause)
        assert machine.RTC().memory() == b"note"
    board.boot(hardware.PWRON)
    assert machine.RTC().memory() == b""


def test_rtc_memory_takes_2048_bytes():
    Bench()
    machine.RTC().memory(bytes(2048))
    error_of(machine.RTC().memory, bytes(2049), kind=ValueError)


def test_the_clock_begins_in_2000_and_keeps_what_it_is_told():
    board = Bench()
    assert machine.RTC().datetime()[:6] == (2000, 1, 1, 5, 0, 0)
    machine.RTC().datetime((2028, 2, 29, 0, 13, 14, 15, 0))
    board.boot()
    now = machine.RTC().datetime()
    assert now[:6] == (2028, 2, 29, 1, 13, 14)
    assert now[6] in (15, 16, 17)
    board.boot(hardware.PWRON)
    assert machine.RTC().datetime()[0] == 2000


# -- Wi-Fi ------------------------------------------------------------------------------------


def joined(ssid="sim", key=""):
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.config(reconnects=1)
    wlan.connect(ssid, key)
    while wlan.status() == network.STAT_CONNECTING:
        pass
    return wlan


def test_the_right_network_and_password_connect():
    Bench()
    wlan = joined()
    assert wlan.isconnected()
    assert network.WLAN().isconnected()  # one interface, whatever object
    assert wlan.ifconfig()[0] == "127.0.0.1"


def test_connecting_takes_a_moment():
    Bench()
    wlan = network.WLAN()
    wlan.active(True)
    wlan.connect("sim", "")
    assert not wlan.isconnected()
    assert wlan.status() == network.STAT_CONNECTING


def test_a_wrong_network_or_password_never_connects():
    Bench()
    assert joined("elsewhere").status() == network.STAT_NO_AP_FOUND
    assert joined("sim", "wrong").status() == network.STAT_WRONG_PASSWORD
    assert not network.WLAN().isconnected()


def test_a_station_that_tries_without_end_is_connecting_and_knows_why_when_it_has_given_up():
    Bench()
    wlan = network.WLAN()
    wlan.active(True)
    wlan.config(reconnects=-1)
    wlan.connect("elsewhere", "")
    assert wlan.status() == network.STAT_CONNECTING
    wlan.disconnect()
    assert wlan.status() == network.STAT_NO_AP_FOUND


def test_a_broken_radio_never_connects_until_the_next_reset():
    board = Bench()
    network.radio(False)
    assert not joined().isconnected()
    board.boot()
    assert joined().isconnected()


def test_wifi_stays_up_over_a_soft_reset():
    board = Bench()
    joined()
    board.boot(hardware.SOFT)
    assert network.WLAN().isconnected()
    board.boot(hardware.HARD)
    assert not network.WLAN().isconnected()


def test_connecting_needs_an_active_interface():
    Bench()
    assert "Wifi Not Started" in str(error_of(network.WLAN().connect, "sim", ""))


def test_an_image_can_be_replaced_while_the_other_runs():
    board = Bench()
    other().ioctl(6, 0)
    other().writeblocks(0, image("newer"), 0)
    other().set_boot()
    assert board.boot() == 1
