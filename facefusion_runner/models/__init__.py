"""Models: what exists (catalog), where the weights are (store), how they run (session)."""
