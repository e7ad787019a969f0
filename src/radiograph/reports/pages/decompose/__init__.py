"""Pages of decompositions: training, harvest, labels, attributions, clusters."""
