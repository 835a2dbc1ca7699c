"""Steps, schedules, checkpoints and reports around the thin Lightning module."""
