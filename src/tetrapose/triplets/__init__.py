"""From any pile of pictures to (picture, pose picture, caption): steps, ledger, shards."""
