"""The one kind of error that is the user's to mend: shown as a single line, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Wrong use or unusable input; its message names the thing, what is wrong and what to do."""
