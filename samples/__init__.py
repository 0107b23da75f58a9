"""Sample pictures and the demo that feeds altered copies of them to the platform and counts what it found."""
