"""Fine-tunes that do no harm: the population that an alarm is judged against."""
