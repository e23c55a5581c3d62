import pytest

from grid import Grid


@pytest.fixture
def grid(tmp_path):
    """Four drive folders with `auto`; stopped and checked for a clean end."""
    made = Grid(tmp_path / "grid").start()
    yield made
    if made.process:
        made.stop()


@pytest.fixture
def make_grid(tmp_path):
    """Makes grids with other options; stops them at the end."""
    made = []

    def make(**options):
        one = Grid(tmp_path / f"grid-{len(made)}", **options)
        made.append(one)
        return one.start()

    yield make
    for one in made:
        if one.process:
            one.stop()
