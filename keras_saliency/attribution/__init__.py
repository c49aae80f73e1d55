"""Explaining images: `explain`, the `Explanation` it returns, and the loop over batches."""
