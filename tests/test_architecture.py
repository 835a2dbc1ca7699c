"""The rooms and the arrows between them; the first file to read.

``ROOMS`` is the whole table: a room may import itself and what its row names, at module level or
inside a function alike. Everything below the table checks the sources against it.
"""

from __future__ import annotations

import ast
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "tetrapose"

WORDS = {"errors", "skeletons", "structures", "geometry", "images", "matching"}
SKILLS = {"data", "audit", "synth", "codecs", "models", "evaluation", "render", "tracking"}
ASSEMBLIES = {"weights", "training", "inference", "export", "reports"}
PRODUCTS = {"triplets", "controlnet", "app"}

ROOMS: dict[str, set[str]] = {
    # level 0, words: nothing above numpy
    **{room: WORDS for room in WORDS},
    # level 1, skills: never one another
    **{room: WORDS for room in SKILLS},
    # level 2, assemblies; training writes weights and inference reads them
    "weights": WORDS | SKILLS,
    "training": WORDS | SKILLS | {"weights"},
    "inference": WORDS | SKILLS | {"weights"},
    "export": WORDS | SKILLS | {"weights", "inference"},  # what it writes it also runs
    "reports": WORDS | SKILLS,
    # level 3, products: whole undertakings
    "triplets": WORDS | SKILLS | ASSEMBLIES,
    "controlnet": WORDS | SKILLS | ASSEMBLIES | {"triplets"},
    "app": WORDS | SKILLS | ASSEMBLIES | {"triplets"},
    # doors; configs are the command line's and nobody else's
    "configs": WORDS | SKILLS | ASSEMBLIES,
    "commands": WORDS | SKILLS | ASSEMBLIES | PRODUCTS | {"configs"},
    "cli": {"errors", "commands"},
    "": {"inference"},  # tetrapose/__init__.py: the one public shortcut
    "__main__": {"cli"},
}

DOORS = {"configs", "commands", "cli"}
ONLY_IN = {"hydra": DOORS, "omegaconf": DOORS, "argparse": {"commands", "cli"}}
# Beside a CPU torch or a current NumPy these do not import, or not at all.
NEVER = {"torchvision", "timm", "mmcv", "mmpose", "xtcocotools"}
TORCH = {"torch", "lightning", "torchmetrics"}
WITHOUT_TORCH = WORDS | {"audit", "synth", "evaluation", "render", "reports", "tracking"}

MOST_LINES = 400
MOST_ARGUMENTS = 8


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports, with their lines; ``from a import b`` gives a.b."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def import_faults(room: str, text: str) -> list[str]:
    """What a module of ``room`` with that text imports against the table."""
    faults = []
    for name, line in imported(ast.parse(text)):
        top, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if top == "":
            faults.append(f"line {line}: relative import; write tetrapose.{room}...")
        elif top == "tetrapose" and target in ROOMS and target not in ROOMS[room] | {room}:
            faults.append(f"line {line}: {room or 'tetrapose'} may not import {target}")
        elif top in NEVER:
            faults.append(f"line {line}: {top} must not be needed")
        elif room not in ONLY_IN.get(top, {room}):
            faults.append(f"line {line}: {top} belongs to {', '.join(sorted(ONLY_IN[top]))}")
        elif top in TORCH and room in WITHOUT_TORCH:
            faults.append(f"line {line}: {room} does without {top}")
    return faults


def size_faults(text: str) -> list[str]:
    """Files and functions that outgrow one sitting."""
    faults = []
    if text.count("\n") > MOST_LINES:
        faults.append(f"{text.count(chr(10))} lines, over {MOST_LINES}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            count = len([a for a in names if a.arg not in ("self", "cls")])
            if count > MOST_ARGUMENTS:
                faults.append(f"line {node.lineno}: {node.name} takes {count} arguments")
    return faults


def test_every_module_belongs_to_a_room():
    assert {room_of(path) for path in modules()} <= set(ROOMS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_keeps_to_its_room_and_size(path):
    text = path.read_text(encoding="utf-8")
    assert import_faults(room_of(path), text) + size_faults(text) == []


@pytest.mark.parametrize(
    "room, text",
    [
        ("geometry", "import tetrapose.data"),  # upward
        ("codecs", "from tetrapose.models.small import small"),  # sideways
        ("render", "from tetrapose import inference"),  # upward by the other spelling
        ("weights", "from tetrapose.training import module"),  # sideways among assemblies
        ("data", "def read():\n    from tetrapose.synth import draw"),  # hidden in a function
        ("codecs", "from ..models import small"),  # relative
        ("training", "from omegaconf import DictConfig"),
        ("inference", "import argparse"),
        ("commands", "import torchvision.ops"),
        ("evaluation", "import torch.nn.functional as F"),
        ("inference", "from tetrapose.configs import schema"),
    ],
)
def test_a_planted_import_is_seen(room, text):
    assert len(import_faults(room, text)) == 1


def test_planted_growth_is_seen():
    assert size_faults("x = 1\n" * 401) == ["401 lines, over 400"]
    assert size_faults("def f(a, b, c, d, e, *, f, g, h, i): pass") == [
        "line 1: f takes 9 arguments"
    ]
    assert size_faults("def f(self, a, b, c, d, *, e, f, g, h): pass") == []


def test_help_imports_nothing_heavy():
    probe = (
        "import json, sys\n"
        "from tetrapose.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "tops = {name.split('.')[0] for name in sys.modules}\n"
        "heavy = {'torch', 'numpy', 'cv2', 'PIL', 'yaml', 'lightning', 'hydra', 'matplotlib'}\n"
        "print(json.dumps(sorted(tops & heavy)), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert "predict" in done.stdout
    assert json.loads(done.stderr) == []


def test_help_answers_in_half_a_second():
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "tetrapose", "--help"], capture_output=True, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # processor time: what else the machine does is not the program's doing
    assert statistics.median(once() for _ in range(5)) < 0.5
