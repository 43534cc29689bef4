"""Make docs/terminal.svg anew, the picture in README.md: `python -m tests.docs.picture`.

It runs the commands in a new home, on a terminal of its own, and draws what they print.
"""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from html import escape, unescape
from pathlib import Path

from tests.docs.pages import ROOT

PICTURE = ROOT / "docs" / "terminal.svg"

COMMANDS = (
    'tmws add "We release every Thursday at 10:00 UTC." --tags release',
    'tmws add "Ana prefers short answers with a code example." --tags people',
    'tmws search "When does the next version go out?"',
    'tmws search "quantum physics of black holes"',
)

COLUMNS = 116
CHARACTER, LINE, MARGIN = 7.5, 17, 14
"""Pixels: the width of a character, the height of a line at a font of 12.5 pixels, and the room around the text."""

_COLOURS = {"2": "#8b949e", "36": "#56d4dd", "1;32": "#56d364", "33": "#e3b341", "1;31": "#ff7b72"}
"""What a dark theme shows for the SGR parameters that the program writes."""

_PIECE = re.compile(r"\x1b\[([\d;]*)m|([^\x1b]+)")


def main() -> None:
    """Run the commands, and write the picture."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="tmws-picture-") as home:
        for command in COMMANDS:
            lines += [f"\x1b[1;32m$\x1b[0m {command}", *printed(command, Path(home)), ""]
    PICTURE.write_text(drawn(lines[:-1]), encoding="utf-8")


def printed(command: str, home: Path) -> list[str]:
    """Return the lines that a command prints on a terminal, colours included; it has to succeed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "xterm", "LANG": "C.UTF-8"}
    program = [sys.executable, "-m", "tmws_cli", *shlex.split(command)[1:]]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 65536):
                text += piece
        except OSError:  # Linux says so when nobody has the other end open any more
            pass
        finally:
            os.close(ours)
    if process.returncode:
        raise SystemExit(text.decode())
    return text.decode().splitlines()


def drawn(lines: list[str]) -> str:
    """Return an SVG that shows the lines, without anything from elsewhere."""
    width, height = round(COLUMNS * CHARACTER) + 2 * MARGIN, len(lines) * LINE + 2 * MARGIN
    texts = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + LINE * number + 12}">{_coloured(line)}</text>'
        for number, line in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">\n'
        "<title>tmws in a terminal</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n'
        '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="12.5" fill="#e6edf3" '
        f'xml:space="preserve">\n{texts}\n</g>\n</svg>\n'
    )


def _coloured(line: str) -> str:
    found, colour = "", ""
    for code, text in _PIECE.findall(line):
        if not text:
            colour = _COLOURS.get(code, "")
        else:
            shown = escape(text, quote=False)
            found += f'<tspan fill="{colour}">{shown}</tspan>' if colour else shown
    return found


def pictured() -> list[tuple[str, str]]:
    """Return the commands of the picture, each with what it printed then."""
    lines = re.findall(r"<text[^>]*>(.*)</text>", PICTURE.read_text(encoding="utf-8"))
    text = unescape(re.sub(r"<[^>]*>", "", "\n".join(lines)))
    parts = [part.partition("\n") for part in text.split("$ ")[1:]]
    return [(command, printed.rstrip("\n")) for command, _, printed in parts]


if __name__ == "__main__":
    main()
