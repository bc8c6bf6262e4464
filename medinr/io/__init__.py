"""Files to volumes and measurements, and back."""
