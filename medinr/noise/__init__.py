"""How noisy a scan is, found from the scan itself, from repeats, or told."""
