"""The simulated flash and bootloader keep ESP-IDF's rules, the painful ones too."""

import hardware
import nor
from bootloader import ABORTED, NEW, PENDING, VALID, ImageError, active, write_record
from chip_bench import DROM, Bench, error_of, image
from esp32 import Partition
from layout import FLASH_SIZE, find

OTADATA = find("otadata")[3]


def activate_new():
    Partition("ota_1").set_boot()


def accept():
    Partition.mark_app_valid_cancel_rollback()


# -- flash ------------------------------------------------------------------------------------


def test_programming_clears_bits_only():
    flash = nor.Nor(nor.Memory(), FLASH_SIZE)
    flash.program(0, b"\xf0")
    flash.program(0, b"\x30")
    error_of(flash.program, 0, b"\x31")
    buf = bytearray(1)
    flash.read(0, buf)
    assert buf == b"\x30"


def test_erasing_blanks_one_sector_and_no_other():
    flash = nor.Nor(nor.Memory(), FLASH_SIZE)
    flash.program(4095, bytes(4098))
    flash.erase(1)
    buf = bytearray(4100)
    flash.read(4094, buf)
    assert buf == b"\xff\x00" + b"\xff" * 4096 + b"\x00\xff"


def test_a_write_outside_the_chip_is_refused():
    flash = nor.Nor(nor.Memory(), FLASH_SIZE)
    assert error_of(flash.program, FLASH_SIZE - 1, b"ab").args[0] == -260


def test_a_cut_tears_the_operation_and_nothing_is_written_after_it():
    for seed in range(20):
        flash = nor.Nor(nor.Memory(), FLASH_SIZE, seed)
        flash.program(0, bytes(256))
        flash.cut_at = 3
        flash.program(256, bytes(256))
        error_of(flash.erase, 0, kind=nor.PowerCut)
        error_of(flash.erase, 0, kind=nor.PowerCut)
        buf = bytearray(512)
        flash.read(0, buf)
        torn = sum(1 for byte in buf if byte == 0)
        assert 0 <= torn <= 512 and flash.operations == 3


def test_how_much_a_cut_lets_through_depends_on_the_seed():
    seen = set()
    for seed in range(20):
        flash = nor.Nor(nor.Memory(), FLASH_SIZE, seed)
        flash.cut_at = 1
        error_of(flash.program, 0, bytes(256), kind=nor.PowerCut)
        buf = bytearray(256)
        flash.read(0, buf)
        seen.add(sum(1 for byte in buf if byte == 0))
    assert len(seen) > 5


# -- the choice of a slot ---------------------------------------------------------------------


def test_blank_otadata_boots_the_first_slot_and_records_it_valid():
    board = Bench()
    assert hardware.board.running == 0
    assert board.records() == [(1, VALID), None]


def test_blank_otadata_and_a_bad_first_slot_boot_and_record_the_second():
    board = Bench()
    board.flash.erase(OTADATA // 4096)
    board.put(0, b"no image")
    assert board.boot() == 1
    assert board.records() == [(2, VALID), None]


def test_a_new_image_is_pending_on_its_first_boot():
    board = Bench()
    activate_new()
    assert board.records() == [(1, VALID), (2, NEW)]
    assert board.boot() == 1
    assert board.records() == [(1, VALID), (2, PENDING)]


def test_an_image_not_confirmed_is_aborted_by_any_reset():
    for cause in (hardware.PWRON, hardware.HARD, hardware.WDT):
        board = Bench()
        activate_new()
        board.boot()
        assert board.boot(cause) == 0
        assert board.records() == [(1, VALID), (2, ABORTED)]


def test_a_confirmed_image_stays():
    board = Bench()
    activate_new()
    board.boot()
    accept()
    assert board.records() == [(1, VALID), (2, VALID)]
    assert board.boot(hardware.PWRON) == 1


def test_a_soft_reset_neither_switches_nor_aborts():
    board = Bench()
    activate_new()
    assert board.boot(hardware.SOFT) == 0
    board.boot()
    assert board.boot(hardware.SOFT) == 1
    assert board.records()[1] == (2, PENDING)
    assert hardware.board.cause == hardware.SOFT


def test_waking_from_deep_sleep_asks_nobody():
    board = Bench()
    activate_new()
    assert board.boot(hardware.DEEPSLEEP) == 0  # set_boot is not heard
    assert board.boot() == 1
    assert board.boot(hardware.DEEPSLEEP) == 1  # still unconfirmed, not aborted
    assert board.records()[1] == (2, PENDING)


def test_both_records_unusable_boot_the_first_slot_and_write_nothing():
    board = Bench()
    write_record(board.flash, 0, 3, ABORTED)
    write_record(board.flash, 1, 4, ABORTED)
    before = board.flash.operations
    assert board.boot() == 0
    assert board.flash.operations == before
    assert error_of(accept).args == (1, "ESP_FAIL")


def test_a_refused_slot_is_passed_over_and_otadata_does_not_learn_it():
    board = Bench()
    activate_new()
    board.put(1, b"no image")
    assert board.boot() == 0
    assert active(board.records()) == 1  # the active record names the slot that does not run
    accept()  # ... and marking valid marks that one
    assert board.records() == [(1, VALID), (2, VALID)]


def test_an_old_bootloader_neither_marks_nor_aborts():
    board = Bench(rollback=False)
    activate_new()
    assert board.boot() == 1
    assert board.records()[1] == (2, NEW)
    assert board.boot() == 1
    assert board.records()[1] == (2, NEW)


def test_setting_the_running_slot_again_loses_the_record_of_the_other():
    board = Bench()
    activate_new()
    board.boot()
    accept()
    activate_new()
    assert board.records() == [(2, NEW), (2, VALID)]


def test_no_bootable_slot_is_an_error():
    board = Bench()
    board.put(0, b"no image")
    board.put(1, b"no image")
    error_of(board.boot, kind=ImageError)


# -- power cuts -------------------------------------------------------------------------------


def test_a_torn_otadata_record_leaves_the_old_choice():
    for operation in (1, 2):
        for seed in range(10):
            board = Bench()
            board.flash.seed = seed
            assert board.cut(activate_new, operation)
            # The last operation may just have been whole.
            assert board.boot(hardware.PWRON) in ((0,) if operation == 1 else (0, 1))
            activate_new()
            assert board.boot() == 1


def test_a_cut_while_marking_valid_boots_the_image_before():
    for seed in range(10):
        board = Bench()
        board.flash.seed = seed
        activate_new()
        board.boot()
        assert board.cut(accept, 1)
        assert board.boot(hardware.PWRON) == 0


def test_a_cut_at_any_operation_of_a_boot_still_boots():
    for operation in range(1, 5):
        board = Bench()
        activate_new()
        board.boot()
        if board.cut(board.boot, operation):
            assert board.boot(hardware.PWRON) == 0


# -- images -----------------------------------------------------------------------------------


def refuses(data):
    """Does set_boot() refuse the image, and the bootloader as well?"""
    board = Bench()
    board.put(1, data)
    assert error_of(activate_new).args == (-5379, "ESP_ERR_OTA_VALIDATE_FAILED")
    assert board.records() == [(1, VALID), None]
    return True


def test_an_image_with_one_wrong_byte_is_refused():
    whole = image("new")
    for at in (0, 1, 12, 23, 27, 28, 40, len(whole) - 33, len(whole) - 1):
        broken = bytearray(whole)
        broken[at] ^= 0x41
        assert refuses(bytes(broken))


def test_an_image_for_another_chip_is_refused():
    assert refuses(image("new", chip=9))


def test_an_image_whose_flash_segment_is_not_aligned_is_refused():
    assert refuses(image("new", load=DROM + 0x100))


def test_an_image_without_appended_hash_still_needs_its_checksum():
    board = Bench()
    plain = image("new", hashed=0)
    board.put(1, plain)
    activate_new()
    broken = bytearray(plain)
    broken[40] ^= 1
    assert refuses(bytes(broken))


def test_a_bootloader_in_a_slot_passes_set_boot_and_is_refused_at_boot():
    for load in (0x40078000, 0x3FFF0030):
        board = Bench()
        board.put(1, image("bootloader", load=load))
        activate_new()
        assert board.boot() == 0
        assert board.records()[1] == (2, PENDING)
        assert board.boot() == 0
        assert board.records()[1] == (2, ABORTED)
