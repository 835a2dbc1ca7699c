"""Models out of the package: files that other programs run, each checked when it is written."""
