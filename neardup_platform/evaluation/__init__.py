"""Quality: the pipeline evaluated on labelled pictures."""
