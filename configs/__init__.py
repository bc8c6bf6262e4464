"""One commented YAML file per task."""
