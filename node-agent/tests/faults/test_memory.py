"""Constant memory: 32 concurrent PUTs of 64 MiB with `auto` on four drives."""

import json
import os
import pathlib
import subprocess

LOAD = pathlib.Path(os.environ.get("SHOAL_LOAD_BIN", "target/ci/shoal-load")).resolve()
SHOAL = pathlib.Path(os.environ.get("SHOAL_BIN", "target/ci/shoal")).resolve()
RSS_MIB_MAX = 150


def test_peak_rss_under_32_large_puts(tmp_path):
    report = tmp_path / "report.json"
    subprocess.run(
        [LOAD, "--shoal", SHOAL, "--profile", "auto", "--drives", "4", "--dir", tmp_path / "load", "--sizes", "64M"]
        + ["--concurrency", "32", "--seconds", "1", "--json", report],
        check=True,
        timeout=600,
    )
    result = json.loads(report.read_text())
    put = next(cell for cell in result["cells"] if cell["verb"] == "Put")
    assert put["errors"] == 0 and put["operations"] >= 32
    peak = result["server"]["peak_rss_bytes"] / (1 << 20)
    assert peak <= RSS_MIB_MAX, f"{peak:.0f} MiB at the peak"
