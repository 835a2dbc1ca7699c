"""One file a labelled set, and the way from a set to batches of crops."""
