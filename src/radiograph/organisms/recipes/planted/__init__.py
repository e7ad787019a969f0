"""Fine-tunes with a narrow change put there on purpose."""
