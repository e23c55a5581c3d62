import pytest

import qemu


@pytest.fixture
def boards(tmp_path):
    """Makes boards in QEMU; all are off in the end."""
    lacking = qemu.missing()
    if lacking:
        pytest.fail(lacking)
    made = []

    def make(name, **options):
        board = qemu.QemuBoard(name, tmp_path / f"board-{len(made)}", number=len(made), **options)
        made.append(board)
        return board

    yield make
    for board in made:
        board.close()
