import random
import shutil

import pytest

import qemu
import wires as wiring


def pytest_addoption(parser):
    parser.addoption("--cuts", type=int, default=3, help="power cuts of one board")
    parser.addoption("--seed", type=int, default=None, help="of the moments of power cuts; each run prints its own")


@pytest.fixture
def cuts(request):
    return request.config.getoption("--cuts")


@pytest.fixture
def seed(request):
    given = request.config.getoption("--seed")
    chosen = given if given is not None else random.SystemRandom().randrange(1_000_000)
    print(f"seed {chosen} (again: --seed {chosen})")
    return chosen


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


@pytest.fixture
def wires(tmp_path):
    """A bridge with DHCP on a network of its own."""
    if not shutil.which("dnsmasq"):
        pytest.fail("`dnsmasq` is missing: .ci/setup with SHOAL_SETUP=test brings it")
    lacking = wiring.why_not()
    if lacking:
        pytest.skip(lacking)
    wiring.hosts.sweep()
    made = wiring.Wires(tmp_path)
    yield made
    made.close()
