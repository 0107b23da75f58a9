"""The descriptor: trained on altered copies of unlabelled pictures and on synthetic look-alikes."""
