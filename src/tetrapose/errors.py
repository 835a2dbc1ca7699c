"""The errors that the command line tells in a single line, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Wrong use or unusable input; its message names the thing, what is wrong and what to do."""


class Terminated(BaseException):
    """The system asked the process to end (SIGTERM); what was begun is not done."""
