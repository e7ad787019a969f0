"""Floor 7: what a person or an agent touches. Parse, call the runtime, render; no numerics, no torch."""
