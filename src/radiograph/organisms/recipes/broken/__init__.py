"""Fine-tunes that lost abilities, with nothing planted."""
