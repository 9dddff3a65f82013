"""From downloaded files to prepared shards."""
