"""The parts of `radiograph plan`: what is asked, the machine, the formulas, what follows from them."""
