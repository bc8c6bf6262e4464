"""What is resumed, shared among processes and written: the parts of the pipelines."""
