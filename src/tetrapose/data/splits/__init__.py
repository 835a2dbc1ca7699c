"""Splits: recipes that draw them, the small files that hold them, reading a set through one."""
