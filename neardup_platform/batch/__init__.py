"""Work on many images or messages at once: ingesting, materialising."""
