import shutil

import pytest

import qemu
import real
import wires as wiring

# Letters of a console that a failure shows.
LAST_WORDS = 4000


def pytest_addoption(parser):
    parser.addoption("--cuts", type=int, default=3, help="power cuts of one board")
    parser.addoption("--seed", type=int, default=None, help="of the moments of power cuts; each run prints its own")


@pytest.fixture
def cuts(request):
    return request.config.getoption("--cuts")


@pytest.fixture
def seed(request):
    return wiring.chosen_seed(request)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows what each board said last."""
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for number, board in enumerate(getattr(item, "boards", [])):
            report.sections.append((f"board {number}: {board.name}", board.serial.text[-LAST_WORDS:]))


@pytest.fixture
def boards(request, tmp_path):
    """Makes boards: in QEMU by their names, real ones by their descriptions; all are off in the end."""
    made = request.node.boards = []

    def make(which, **options):
        if isinstance(which, dict):
            made.append(real.RealBoard(which))
        else:
            lacking = qemu.missing()
            if lacking:
                pytest.fail(lacking)
            made.append(qemu.QemuBoard(which, tmp_path / f"board-{len(made)}", number=len(made), **options))
        return made[-1]

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
