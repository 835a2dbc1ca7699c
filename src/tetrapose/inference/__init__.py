"""Pictures in, Instances out."""
