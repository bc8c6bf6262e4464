"""What a reader would use instead, through other libraries."""
