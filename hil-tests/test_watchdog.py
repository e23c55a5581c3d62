"""A board whose kernel stands still starts anew by itself."""

import pytest

import qemu

BOARDS = qemu.tested_boards() or ["qemu-virt-arm64"]
INIT_BEGINS = r"shoal: version .* on "


@pytest.mark.parametrize("name", BOARDS)
def test_the_watchdog_restarts_a_board_that_hangs(boards, name):
    board = boards(name)
    if not board.has_watchdog:
        pytest.skip(f"{name} has no watchdog that its emulator and its kernel both know")
    board.let_it_hang("a")
    board.power_on()
    # By then the modules are loaded and the watchdog is pinged, or init has said that there is none.
    board.serial.wait_for("shoal: (wrong|applied|making|waiting)")
    assert "watchdog does not answer" not in board.serial.text
    board.hang()
    board.serial.wait_for("Kernel panic - not syncing: sysrq triggered crash")
    after = board.serial.mark()
    board.serial.wait_for(INIT_BEGINS, after)
