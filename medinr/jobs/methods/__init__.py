"""Every method that reconstructs, by name: what `medinr evaluate` compares and ``--method`` chooses among."""
