"""The menagerie: posed, rendered animals whose every point is known."""
