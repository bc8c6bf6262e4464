"""Standard deviation, null space and out-of-distribution score of a reconstruction."""
