"""YAML groups and run schemas; nothing but the command line reads them."""
