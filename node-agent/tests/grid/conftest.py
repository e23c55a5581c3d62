import pytest

import hosts
from hosts import Network


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="longer load, more faults: for `just torture`")
    parser.addoption("--seed", type=int, default=None, help="of the load and the faults; each run prints its own")


@pytest.fixture(scope="session")
def namespaces():
    hosts.sweep()
    reason = hosts.why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def network(namespaces):
    made = Network()
    yield made
    made.close()
