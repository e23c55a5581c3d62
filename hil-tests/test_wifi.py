"""A board that has no cable: Wi-Fi as the owner or Raspberry Pi Imager names it, against hostapd on emulated radios."""

import pytest

import qemu

BOARD = "qemu-virt-wifi"
IMAGE = qemu.IMAGES / f"shoal-{BOARD}.img"
NETWORK = """network:
  version: 2
  wifis:
    renderer: networkd
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "air":
          password: "{password}"
      optional: true
"""
RIGHT = "through the air"
OVER_THE_AIR = "10.99.0.2"

pytestmark = pytest.mark.skipif(not IMAGE.exists(), reason=f"no image: `just image {BOARD}` builds it")


def test_a_board_joins_by_what_an_imager_wrote_and_serves_over_the_air(boards):
    board = boards(BOARD)
    board.let_it_found()
    board.put_on_card("network-config", NETWORK.format(password=RIGHT))
    board.power_on()
    board.serial.wait_for("shoal: applied: network-config .Wi-Fi `air`, whose password stays on the card")
    board.serial.wait_for("shoal: wlan0: Wi-Fi joined")
    board.serial.wait_for(f"shoal: ready: .*http://{OVER_THE_AIR}:9000")
    # Anonymous requests are refused, by S3.
    board.serial.wait_for("access point: .*403")
    assert RIGHT not in board.serial.text
    first_start = board.serial.mark()
    board.cut_power()
    board.power_on()
    board.serial.wait_for(f"shoal: ready: .*http://{OVER_THE_AIR}:9000", first_start)


def test_a_wrong_password_is_said_and_a_right_one_is_taken(boards):
    board = boards(BOARD)
    board.let_it_found('[[board.wifi]]\nssid = "air"\npassword = "through the wire"\n')
    board.power_on()
    board.serial.wait_for("shoal: wlan0: Wi-Fi `air` does not take this password")
    board.serial.wait_for("shoal: ready: S3 at http://10.0.2.15:9000$")
    first_start = board.serial.mark()
    board.cut_power()
    board.put_on_card("network-config", NETWORK.format(password=RIGHT))
    board.let_it_found()
    board.power_on()
    board.serial.wait_for(f"shoal: ready: .*http://{OVER_THE_AIR}:9000", first_start)
