"""The leaderboards: rows, rank intervals, comparisons, and the one place that keeps them."""
