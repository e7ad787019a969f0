"""Parts of `match`: reading two sides, aligning them, comparing what else they share."""
