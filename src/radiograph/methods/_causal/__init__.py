"""Intervention rows in, causal grades out: what `intervene`, `steer contrast` and `inspect --interventions` share."""
