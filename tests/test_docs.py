"""What README and docs say is what happens: their code is run, or at least checked.

A block is run where it stands, page by page, in a folder with a small data set and a small model
for the names that the docs use. A line `<!-- checked, not run: why -->` above a block says that
it needs what is not here: then its commands must exist, with these options and keys.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import click
import pytest
from click.testing import CliRunner

from actionrnn import errors
from actionrnn.apps import cli
from actionrnn.config import Config
from actionrnn.config_reading import load_config, shipped_configs
from actionrnn.model.recognizer import load
from tests.apps.serving import Running, running

ROOT = Path(__file__).parents[1]
PAGES = sorted(  # the Chinese README has the very blocks of the English one
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
    if path.name != "README.zh-CN.md"
)
SLOW = ("docs/deploy.md",)  # converts a backbone, twice
LANGUAGES = ("sh", "python", "yaml", "text")
OTHERS = (
    *("pip", "uv", "hf", "ray", "srun", "torchrun", "ffmpeg", "curl"),
    *("pytest", "mkdocs", "playwright", "sh", "rpicam-vid"),
)
CHECKED = re.compile(r"<!-- (checked, not run: .+|from \S+) -->")
SERVED_AT = "http://127.0.0.1:7860"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    is_run: bool


def blocks_of(page: str) -> Iterator[Block]:
    lines = iter((ROOT / page).read_text(encoding="utf-8").splitlines())
    before = ""
    for line in lines:
        if line.startswith("```"):
            inside = []
            for content in lines:
                if content == "```":
                    break
                inside.append(content)
            else:
                pytest.fail(f"{page}: a block is not closed")
            yield Block(line[3:], "\n".join(inside) + "\n", CHECKED.fullmatch(before) is None)
        before = line


@pytest.fixture(scope="session")
def place(clips: Path, configure: Callable[..., Config], tmp_path_factory: Any) -> Path:
    """A folder with the files that the docs name."""
    from actionrnn.training.train import train

    folder: Path = tmp_path_factory.mktemp("docs")
    shutil.copytree(clips, folder / "videos")
    shutil.copytree(clips, folder / "folder")
    clip = clips / "red" / "ann_red.avi"
    for name in ("clip.avi", "clip.mp4", "long.mp4"):
        shutil.copy(clip, folder / name)
    sampling = ("sampling.num_frames=null", "sampling.rate_fps=4")
    # enough epochs that no answer hangs on the last digits, in int8 either
    config = configure(folder / "videos", *sampling, "train.epochs=30")
    train(config, folder / "runs" / "demo")
    run("actionrnn extract videos --output other --rate-fps 4", folder)
    run("actionrnn store export other --to npy --output theirs", folder)
    same = "data.root=videos 'data.group_pattern=\"^([^_]+)_\"'"
    other = "head.kind=lstm train.epochs=5"
    run(f"actionrnn train folder_example {same} {other} --output runs/other", folder)
    return folder


@pytest.fixture(scope="session")
def server(place: Path) -> Iterator[Running]:
    with running(load(place / "runs" / "demo")) as started:
        yield started


def run(line: str, folder: Path, served_at: str = "") -> None:
    """One line of a shell block."""
    words = shlex.split(line.replace(SERVED_AT, served_at), comments=True)
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    if not words:
        return
    if words[0] == "actionrnn":
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            done = CliRunner().invoke(cli.main, words[1:], prog_name="actionrnn")
        assert done.exit_code == 0, f"{line}\n{done.output}"
        return
    assert words[0] in ("python", "curl"), f"{line}: mark it as checked, not run"
    if words[0] == "python":
        words[0] = sys.executable
    elif shutil.which("curl") is None:
        pytest.skip("no curl here")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and '"error"' not in done.stdout, f"{line}\n{done.stderr}"


def check(line: str) -> None:
    """The commands of a line exist, with these options, configurations and keys."""
    words = shlex.split(line, comments=True)
    for part in split_at(words, ("|", "&&", ";")):
        while part and re.fullmatch(r"[A-Z_]+=\S*", part[0]):
            part = part[1:]
        if part[:2] == ["uv", "run"]:
            part = part[2:]
            while part[:1] in (["--group"], ["--extra"], ["--no-sync"]):
                if part[0] != "--no-sync":
                    check_group(part.pop(1))
                part = part[1:]
        if not part:
            continue
        if "actionrnn" in part[1:] and part[0] in ("srun", "torchrun"):
            part = part[part.index("actionrnn") :]
        if part[0] == "python" or part[0] == "torchrun":
            check_script(part)
        elif part[0] == "actionrnn":
            check_command(part[1:], line)
        else:
            assert part[0] in OTHERS, f"{line}: what is {part[0]}?"
            for extra in re.findall(r"actionrnn\[(\w+)\]", " ".join(part)):
                check_group(extra)


def split_at(words: list[str], marks: tuple[str, ...]) -> Iterator[list[str]]:
    part: list[str] = []
    for word in words:
        if word in marks:
            yield part
            part = []
        else:
            part.append(word)
    yield part


def check_group(name: str) -> None:
    assert f"\n{name} = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def check_script(part: list[str]) -> None:
    script = next((word for word in part if word.endswith(".py")), None)
    if script is None or not (ROOT / script).exists():
        assert script is None or script.startswith(("exported", "X")), f"{part}: no such script"
        return
    text = (ROOT / script).read_text(encoding="utf-8")
    if script.startswith("benchmarks/"):
        for word in part[part.index(script) + 1 :]:
            assert not word.startswith("--") or f'"{word}"' in text, f"{part}: no {word}"


def check_command(words: list[str], line: str) -> None:
    command: click.Command = cli.main
    while isinstance(command, click.Group) and words:
        if words[0].startswith("-"):
            break
        found = command.commands.get(words[0])
        if found is None and words[0] in ("...", "SCRIPT"):
            return
        assert found is not None, f"{line}: no command {words[0]!r}"
        command, words = found, words[1:]
    options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    options |= {"--help", "-h", "--debug", "--version"}
    for word in words:
        if word.startswith("-") and len(word) > 1:
            assert word.split("=")[0] in options, f"{line}: {command.name} has no {word}"
        elif re.fullmatch(r"[a-z]+\.[a-z_0-9]+=.*", word) and not word.endswith("..."):
            load_config("folder_example", [word])
    if command.name == "train" and words and not words[0].startswith(("-", ".", "X")):
        known = (*shipped_configs(), "mine.yaml", "CONFIG", "FOLDER", "my-project")
        assert words[0] in known or (ROOT / words[0]).is_file(), f"{line}: no such configuration"


def test_every_block_says_what_it_is() -> None:
    assert len(PAGES) > 10
    for page in PAGES:
        for block in blocks_of(page):
            assert block.language in LANGUAGES, f"{page}: {block.language!r}"


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow if p in SLOW else ()) for p in PAGES]
)
def test_the_code_of_a_page_does_what_it_says(
    page: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: dict[str, Any] = {}
    for block in blocks_of(page):
        if block.language == "python" and block.is_run:
            folder = request.getfixturevalue("place")
            monkeypatch.chdir(folder)
            text = block.text
            if SERVED_AT in text:
                text = text.replace(SERVED_AT, request.getfixturevalue("server").address)
            with redirect_stdout(io.StringIO()):
                exec(compile(text, page, "exec"), names)
        elif block.language == "python" and not block.text.rstrip().endswith(":"):
            compile(block.text, page, "exec")
        elif block.language == "sh":
            for line in logical_lines(block.text):
                if not block.is_run:
                    check(line)
                    continue
                folder = request.getfixturevalue("place")
                served = request.getfixturevalue("server").address if SERVED_AT in line else ""
                run(line, folder, served)


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_a_text_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for command in re.findall(r"`((?:actionrnn|python benchmarks/|uv run) [^`]+)`", text):
        check(" ".join(command.split()))


def logical_lines(text: str) -> Iterator[str]:
    """Lines of a shell block; one that ends with a backslash goes on."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            yield line


def test_the_checks_see_what_is_wrong() -> None:
    for line in (
        "actionrnn clasify clip.mp4",
        "actionrnn classify clip.mp4 --modell x",
        "actionrnn train folder_exmaple",
        "python benchmarks/runtime.py --jsn x",
        "python benchmarks/nothing.py",
        "pip install 'actionrnn[nothing]'",
        "frobnicate",
    ):
        with pytest.raises(AssertionError):
            check(line)
    with pytest.raises(Exception, match="unknown key"):
        check("actionrnn train folder_example train.epoch=3")


def test_every_field_that_the_docs_name_is_there() -> None:
    sections = get_type_hints(Config)
    for page in PAGES:
        if page == "CHANGELOG.md":
            continue
        for section, key in re.findall(
            r"`(data|sampling|backbone|head|train)\.([a-z_0-9]+)\b[^`(]*`",
            (ROOT / page).read_text(encoding="utf-8"),
        ):
            is_file = key == "py"
            assert is_file or key in get_type_hints(sections[section]), f"{page}: {section}.{key}"


def raised() -> Iterator[tuple[str, str]]:
    """Where our own errors are raised, and the constant text of their messages."""
    kinds = {name for name in vars(errors) if name.endswith("Error")} | {"EntryError"}
    for file in sorted((ROOT / "actionrnn").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in kinds and call.args:
                parts = [n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant)]
                text = constant_text(call.args[0])
                if len(parts) and len(text.strip("{}: ()")) > 3:
                    yield f"{file.name}:{node.lineno}", text


def constant_text(node: ast.expr) -> str:
    """An f-string with {} for its values; of a call (missing_extra) that of its first argument."""
    if isinstance(node, ast.Call) and node.args:
        return constant_text(node.args[0])
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
    return ""


def test_the_errors_in_troubleshooting_are_raised() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    messages = dict(raised())
    assert len(messages) > 150
    not_raised = ("apps/live.py", "video/sound.py", "apps/web/model.js", "apps/web/web.js")
    others = ((ROOT / "actionrnn" / name).read_text(encoding="utf-8") for name in not_raised)
    whole = "\n".join([*messages.values(), *others])
    unknown = [fragment for fragment in quoted if fragment not in whole]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_code_that_is_quoted_stands_in_the_source(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for file, block in re.findall(r"<!-- from (\S+) -->\n```python\n(.*?)```", text, re.DOTALL):
        source = [line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
        for line in block.strip().splitlines():
            assert line.strip() in source, f"{page}: {file} has no {line!r}"


def test_the_figures_are_what_the_code_draws() -> None:
    names: dict[str, Any] = {}
    script = ROOT / "docs" / "figures" / "draw.py"
    exec(compile(script.read_text(encoding="utf-8"), script, "exec"), names)
    for name, draw in names["FIGURES"].items():
        assert (script.parent / name).read_text(encoding="utf-8") == draw().svg(), name
