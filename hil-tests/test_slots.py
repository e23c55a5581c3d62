"""What the boot loader does with the two slots of a card."""

import pytest

import qemu

BOARDS = qemu.tested_boards() or ["qemu-virt-arm64"]


def started(slot):
    """What init says of the slot that its kernel's command line names."""
    return rf"shoal: slot {slot}: version .*, every file is what was signed"


@pytest.mark.parametrize("name", BOARDS)
def test_a_trial_ends_and_a_slot_that_does_not_load_falls_back(boards, name):
    board = boards(name)
    board.set_boot_state(slot="a", trial="b", tries="1")
    board.power_on()
    board.serial.wait_for(started("b"))

    # Nothing told the boot loader that the trial went well.
    board.cut_power()
    after = board.serial.mark()
    board.power_on()
    board.serial.wait_for("shoal: slot b never became healthy, back to a", after)
    board.serial.wait_for(started("a"), after)

    board.cut_power()
    board.empty_slot("a")
    after = board.serial.mark()
    board.power_on()
    board.serial.wait_for("shoal: slot a does not start", after)
    board.serial.wait_for(started("b"), after)
