"""The dense CRF on files: probabilities of any network refined, and parameters searched for a model."""
