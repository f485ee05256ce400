"""The command lines that the documentation shows, in fenced blocks and in running text."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS += [ROOT / "elir_jax" / "assets" / "README.md"]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
BEFORE = r"(?:^|(?<=[\s\"]))(?:[A-Z_]+=\S+ )?"  # the start of a word, and a variable's setting
COMMAND = re.compile(rf"{BEFORE}(?:\S*bin/)?(python3? .*|pip .*|elir-\w+\b.*)")


def commands(text: str) -> list[str]:
    """Every command line of a Markdown text, once, in order; the interpreter is called python."""
    blocks = [block for kind, block in FENCED.findall(text) if kind != "python"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    for paragraph in re.split(r"\n\s*\n", FENCED.sub("", text)):
        lines += [code for code in INLINE.findall(paragraph) if COMMAND.match(one_line(code))]
    found = (_command(one_line(re.sub(r"\s#.*", "", line))) for line in lines)
    return list(dict.fromkeys(command for command in found if command))


def one_line(code: str) -> str:
    return " ".join(code.split())


def _command(line: str) -> str:
    match = COMMAND.search(line)
    if match is None:
        return ""
    if line[: match.start()].count('"') % 2:  # within quotes, for another machine's shell
        match = COMMAND.search(line[: line.index('"', match.start())])
    return re.sub(r"(\S*bin/)?python3? ", "python ", match[0].strip(), count=1)


def python_blocks(text: str) -> list[str]:
    """The Python programs of a Markdown text."""
    return [block for kind, block in FENCED.findall(text) if kind == "python"]
