"""What other thresholds or another classifier would have decided about past traffic, from what was recorded."""
