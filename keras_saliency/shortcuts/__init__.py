"""What a model relies on: swaps of nuisances, their gaps, and the verdict."""
