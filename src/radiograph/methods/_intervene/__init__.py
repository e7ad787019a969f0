"""Features, prompts and doses in, rows of interventions out: what `intervene` and `steer contrast` share."""
