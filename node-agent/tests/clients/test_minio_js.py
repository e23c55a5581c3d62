"""minio-js, in node."""

import pathlib
import shutil

import pytest

from server import TOOLS, run


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_minio_js(server):
    script = pathlib.Path(__file__).parent / "minio_client.mjs"
    env = server.environment(SHOAL_NODE_MODULES=str(TOOLS / "clients-node/node_modules"))
    assert "every step of minio-js passed" in run(["node", script], env).stdout
