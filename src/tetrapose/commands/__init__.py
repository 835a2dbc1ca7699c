"""One file a command: HELP, add_arguments(parser) and run(args) -> exit status.

Modules here are imported to build ``--help``, so at module level they import the standard library
alone; everything heavy is imported inside ``run``.
"""
