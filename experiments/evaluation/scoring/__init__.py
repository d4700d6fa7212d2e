"""Log-probabilities of texts, by the chain rule or as a pseudo-likelihood."""
