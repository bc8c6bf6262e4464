"""Ways of measuring: one class each, in a file of its own."""
