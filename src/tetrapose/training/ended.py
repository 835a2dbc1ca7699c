"""A training that is ended from outside: never with the status of one that is done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.exceptions import SIGTERMException

from tetrapose.errors import Terminated


@contextmanager
def not_as_done() -> Iterator[None]:
    """Around ``Trainer.fit``: SIGTERM becomes ``Terminated``, Ctrl-C a KeyboardInterrupt again.

    Lightning leaves by SystemExit in both cases: without a status, which is that of success, where
    a cluster takes the machine back; and with 1, which here says that pictures were left out.
    """
    try:
        yield
    except SIGTERMException as error:
        raise Terminated("the system asked it to end") from error
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
