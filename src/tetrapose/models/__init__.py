"""One file an architecture: functions that build it."""
