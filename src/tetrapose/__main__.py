"""``python -m tetrapose`` is the ``tetrapose`` command."""

import sys

from tetrapose.cli import main

sys.exit(main())
