"""Results as pages: one HTML file each, with nothing to fetch."""
