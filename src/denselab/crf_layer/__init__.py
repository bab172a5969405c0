"""The dense CRF as a layer of torch that learns with the network before it (CRF-RNN)."""
