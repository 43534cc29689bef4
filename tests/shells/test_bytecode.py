"""An image may keep the bytecode alone."""

import compileall
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.shells.serving import ROOT

PACKAGES = ("tmws_core", "tmws_adapters", "tmws_mcp", "tmws_cli")


def test_bytecode_without_its_source_makes_a_store(tmp_path: Path) -> None:
    for name in PACKAGES:
        copied = shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        assert compileall.compile_dir(copied, quiet=1, legacy=True)
        for source in copied.rglob("*.py"):
            source.unlink()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TMWS_", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-m", "tmws_cli", "db", "upgrade"],
        cwd=tmp_path,
        env={**kept, "TMWS_HOME": str(tmp_path / "home"), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert (tmp_path / "home" / "tmws.db").is_file()
