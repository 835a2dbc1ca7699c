"""The door: what every command has in common."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import tetrapose
from tetrapose import cli
from tetrapose.errors import UserError


@pytest.fixture
def command(monkeypatch):
    """Stands a command of the test's own in for ``info``; its ``run`` is what the test sets."""
    module = ModuleType("tetrapose.commands.info")
    module.HELP = "a command that the test made"
    module.add_arguments = lambda parser: parser.add_argument("--json")
    monkeypatch.setitem(sys.modules, "tetrapose.commands.info", module)
    return module


def fails_with(error):
    def run(args):
        raise error

    return run


def leaves(argv):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    return left.value.code


def test_the_installed_command_tells_its_version():
    done = subprocess.run(
        [sys.executable, "-m", "tetrapose", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"tetrapose {tetrapose.__version__}\n"


def test_help_names_every_command(capsys):
    assert leaves(["--help"]) == 0
    text = capsys.readouterr().out
    listed = {
        line.split()[0] for line in text.splitlines() if line[:4].isspace() and line[4:5].strip()
    }
    assert set(cli.COMMANDS) <= listed


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_of_its_own(name, capsys):
    assert leaves([name, "--help"]) == 0
    assert f"tetrapose {name}" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [[], ["predcit"], ["info", "--jsn", "1"], ["--verbose", "info"]])
def test_wrong_use_is_one_line_and_status_2(argv, capsys):
    assert leaves(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("tetrapose")
    assert "--help" in err


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_commands_status_is_the_programs(command, status):
    command.run = lambda args: status
    assert cli.main(["info"]) == status


def test_a_users_error_is_one_line(command, capsys):
    command.run = fails_with(UserError("photo.jpg: the file is empty"))
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == "tetrapose: photo.jpg: the file is empty\n"


def test_a_bug_is_one_line_too(command, capsys):
    command.run = fails_with(ZeroDivisionError("over\nlines"))
    assert cli.main(["info"]) == 2
    err = capsys.readouterr().err
    assert err == "tetrapose: ZeroDivisionError: over lines (--debug shows where)\n"


@pytest.mark.parametrize("argv", [["--debug", "info"], ["info", "--debug"]])
@pytest.mark.parametrize("error", [UserError("no"), ZeroDivisionError("oh")])
def test_debug_shows_the_traceback_and_keeps_the_status(command, capsys, argv, error):
    command.run = fails_with(error)
    assert cli.main(argv) == 2
    assert "Traceback" in capsys.readouterr().err


def test_stopping_by_hand_is_told_plainly(command, capsys):
    command.run = fails_with(KeyboardInterrupt())
    assert cli.main(["info"]) == 130
    assert capsys.readouterr().err == "tetrapose: stopped\n"


def test_a_closed_pipe_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m tetrapose info | true", shell=True, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_info_tells_what_a_report_needs(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    for word in ("tetrapose", "python", "torch", "skeletons", "animal_pose", "models"):
        assert word in text
