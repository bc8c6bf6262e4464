"""Which scans, whose, which split, which hash, which licence."""
