"""The formulas and rules of an audit: feature scores, the capability panel, answers, the verdict."""
