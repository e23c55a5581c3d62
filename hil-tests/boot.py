"""Runs the image of a board in QEMU until Ctrl-C, which cuts the power: its console here, S3 at a port of this computer, a
freshly flashed card in target/boot/BOARD. `just boot BOARD` calls it."""

import argparse
import sys

import board
import qemu


class Echo(board.Serial):
    def feed(self, data):
        super().feed(data)
        sys.stdout.write(data)
        sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("board", help="its image was built by `just image BOARD`")
    chosen = parser.parse_args()
    lacking = qemu.missing()
    if lacking:
        sys.exit(lacking)
    if not (qemu.IMAGES / f"shoal-{chosen.board}.img").exists():
        sys.exit(f"there is no image of it: `just image {chosen.board}` builds one")
    made = qemu.QemuBoard(chosen.board, qemu.TOP / "target/boot" / chosen.board)
    made.serial = Echo(made.folder / "serial.log")
    made.let_it_found()
    made.power_on()
    print(f"S3 will be at {made.s3}; its keys come on the console; Ctrl-C cuts the power", flush=True)
    try:
        made.process.wait()
    except KeyboardInterrupt:
        pass
    made.close()


if __name__ == "__main__":
    main()
