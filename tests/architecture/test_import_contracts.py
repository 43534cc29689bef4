"""The import rules in pyproject.toml, and that they would notice."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("tmws_core", "tmws_adapters", "tmws_mcp", "tmws_cli")
COMMAND = (sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")

INTRUDERS = {
    "tmws_core/services/recall.py": "import tmws_core.services.memories",
    "tmws_core/domain/text.py": "import anyio",
    "tmws_core/errors/base.py": "import socket",
    "tmws_core/ports/bus.py": "import tmws_core.app",
    "tmws_core/wire.py": "import tmws_adapters.settings",
    "tmws_adapters/logs.py": "import tmws_adapters.system",
    "tmws_adapters/system/clock.py": "import tmws_adapters.exact, tmws_adapters.migrations, sqlalchemy, sqlite3",
    "tmws_adapters/inprocess/cache.py": "import onnxruntime, chromadb, numpy, httpx, mcp, click, cryptography, jwt",
    "tmws_adapters/inprocess/bus.py": "import psycopg, redis",
    "tmws_mcp/schema.py": "import tmws_cli",
}
"""Imports that break every contract at least once, by the file they are put into."""


def lint(directory: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, "--no-cache"], cwd=directory, capture_output=True, text=True, check=False, timeout=120
    )


def verdicts(output: str) -> dict[str, str]:
    return dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", output, re.MULTILINE))


def test_every_import_contract_is_kept() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_import_contract_would_notice_a_breach(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__", "_docs"))
    for name, line in INTRUDERS.items():
        with (tmp_path / name).open("a", encoding="utf-8") as module:
            module.write(f"\n{line}\n")
    found = verdicts(lint(tmp_path).stdout)
    assert found
    assert {name for name, verdict in found.items() if verdict == "KEPT"} == set()
