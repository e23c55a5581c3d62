"""The AWS SDK for JavaScript, version 3, in node."""

import pathlib
import shutil

import pytest

from server import TOOLS, run


@pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")
def test_aws_sdk_js(server):
    script = pathlib.Path(__file__).parent / "aws_sdk_js.mjs"
    # It asks for a region under this name alone.
    env = server.environment(SHOAL_NODE_MODULES=str(TOOLS / "clients-node/node_modules"), AWS_REGION=server.region)
    assert "every step of the AWS SDK for JavaScript passed" in run(["node", script], env).stdout
