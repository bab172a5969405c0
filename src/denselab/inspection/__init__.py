"""Looking into networks: layer tables, receptive fields, activations."""
