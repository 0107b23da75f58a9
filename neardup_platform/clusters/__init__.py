"""Which cluster an image belongs to: the decision rule, and the store of clusters and their history."""
