"""Instances drawn on pictures."""
