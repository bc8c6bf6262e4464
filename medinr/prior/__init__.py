"""What stays on during the fit: regularisers."""
