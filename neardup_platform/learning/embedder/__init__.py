"""The descriptor: fine-tuning on altered copies of unlabelled pictures."""
