"""What the site has beyond docs/: the README as its first page, the tutorial as a page, and a
reference that is made from the catalogue and the docstrings (mkdocs calls `on_files`)."""

import base64
import inspect
import json
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import fill
from typing import Any

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import robustrun
from robustrun.command_line.main import run_command_line
from robustrun.command_line.options import headline
from robustrun.configuration.catalogue import option_file, options_by_group
from robustrun.configuration.decoding import REGISTRIES

ROOT = Path(__file__).resolve().parents[1]
BESIDE = {  # the pages beside docs/, and what they are in the site
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
CLASSES = {registry.group: registry for registry in REGISTRIES.values()}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, content in pages().items():
        files.append(File.generated(config, name, content=content))
    return files


def pages() -> dict[str, str | bytes]:
    """Every page that is made here, by its place in the site."""
    made: dict[str, str | bytes] = {here: from_the_root(name) for name, here in BESIDE.items()}
    made |= {"reference/command-line.md": command_line(), "reference/python.md": python()}
    made |= notebook(ROOT / "docs" / "tutorial.ipynb")
    for group, options in options_by_group().items():
        made[f"reference/{group}.md"] = reference(group, options)
    return made


def from_the_root(name: str) -> str:
    """A page beside docs/, with its links as they are in docs/."""
    text = (ROOT / name).read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/([^)]*)\)", r"](\1)", text)
    for there, here in BESIDE.items():
        text = text.replace(f"]({there}", f"]({here}")
    return text


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """A page of docs/ with its links as the site has their ends; files of code are no pages."""
    up = "../" * page.file.src_uri.count("/")
    for there, here in BESIDE.items():
        markdown = markdown.replace(f"]({up}../{there}", f"]({up}{here}")
    markdown = markdown.replace("tutorial.ipynb)", "tutorial.md)")
    return re.sub(rf"\[([^\]]*)\]\({up}\.\./[^)]*\)", r"\1", markdown)


# --- the tutorial -------------------------------------------------------------------------------


def notebook(file: Path) -> dict[str, str | bytes]:
    """The page of a notebook, and its pictures: cells and the outputs that are stored in it."""
    parts: list[str] = []
    pictures: dict[str, str | bytes] = {}
    for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {"text/plain": output.get("text", "")})
            if "image/png" in data:
                name = f"tutorial-{len(pictures) + 1}.png"
                pictures[name] = base64.b64decode("".join(data["image/png"]))
                parts.append(f"![What the cell above draws]({name})")
            else:
                text = "".join(data["text/plain"]).rstrip()
                parts.append(f'```text title="output"\n{text}\n```')
    return {f"{file.stem}.md": "\n\n".join(parts), **pictures}


# --- the reference ------------------------------------------------------------------------------


def reference(group: str, options: list[str]) -> str:
    """All options of a group: what each is, and its settings as `robustrun explain` shows them."""
    sections = "\n\n".join(option_section(group, option) for option in options)
    how = f"+{group}" if group == "experiment" else group
    return (
        f"# {group}\n\nThe options of `{how}=NAME`, as `robustrun explain {group}=NAME` shows "
        f"them. `attack.epsilon=…` or any other key can be set on the command line.\n\n{sections}\n"
    )


def option_section(group: str, option: str) -> str:
    file = option_file(group, option)
    settings = file.read_text(encoding="utf-8").rstrip()
    documented = "\n\n".join(map(as_prose, class_texts(group, option)))
    parts = [f"## {option}", as_prose(headline(file)), documented]
    return "\n\n".join([*filter(None, parts), f"```yaml\n{settings}\n```"])


def class_texts(group: str, option: str) -> list[str]:
    """The docstrings of the module and of the class that an option names."""
    registry, name = CLASSES.get(group), registered_name(group, option)
    if registry is None or name is None or name not in registry:
        return []
    cls = registry[name]
    return [inspect.getdoc(it) or "" for it in (inspect.getmodule(cls), cls)]


def registered_name(group: str, option: str) -> str | None:
    """`name:` of an option, or of the one of its group that it begins with."""
    content = yaml.safe_load(option_file(group, option).read_text(encoding="utf-8"))
    if "name" in content:
        return str(content["name"])
    bases = [base for base in content.get("defaults", []) if isinstance(base, str)]
    return next((registered_name(group, base) for base in bases if base != "_self_"), None)


def as_prose(text: str) -> str:
    """Plain text as Markdown: addresses are links, and signs of formulas stay as they are."""
    return "\n".join(
        line if line.startswith("    ") else escaped(line) for line in text.split("\n")
    )


def escaped(line: str) -> str:
    """A line of text, but for what is code in it, with the signs of Markdown as they are."""
    pieces = re.split(r"(`[^`]*`|https?://[^\s)>,;]+[^\s)>,;.:])", line)
    texts = (re.sub(r"([*_<>|\[\]~])", r"\\\1", piece) for piece in pieces[::2])
    others = (piece if piece.startswith("`") else f"<{piece}>" for piece in pieces[1::2])
    return "".join(part for pair in zip(texts, [*others, ""], strict=True) for part in pair)


def command_line() -> str:
    """What `--help` says, of the program and of each command."""
    helps = {"robustrun": ["--help"]}
    commands = re.findall(
        r"^  robustrun ([a-z]+)", printed(["--help"]).partition("Options")[0], re.M
    )
    helps |= {f"robustrun {command}": [command, "--help"] for command in commands}
    sections = (f"## {title}\n\n```text\n{printed(words)}\n```" for title, words in helps.items())
    return "# The command line\n\n" + "\n\n".join(sections) + "\n"


def printed(words: list[str]) -> str:
    with redirect_stdout(StringIO()) as output:
        run_command_line(words)
    lines = output.getvalue().rstrip().split("\n")
    return "\n".join(line if len(line) <= 100 else fill(line, 100) for line in lines)


def python() -> str:
    """The public functions of the package, from their docstrings."""
    names = [name for name in robustrun.__all__ if inspect.isfunction(getattr(robustrun, name))]
    functions = "\n\n".join(f"::: robustrun.{name}" for name in names)
    return f"# Python\n\n[From Python](../python.md) shows how they are used.\n\n{functions}\n"
