"""Parts of `organisms benchmark`: protocol, organisms, measurement, judgement, metrics, controls, bars."""
