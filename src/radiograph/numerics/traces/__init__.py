"""What a narrow change leaves behind: witnesses, shifts of activations, training rows."""
