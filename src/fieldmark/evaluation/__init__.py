"""Rankings to numbers: metrics, and the protocols that say what is ranked."""
