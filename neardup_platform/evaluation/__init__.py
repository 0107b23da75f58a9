"""Quality: evaluation of the pipeline on labelled pictures."""
