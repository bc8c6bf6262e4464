"""One thin program per job."""
