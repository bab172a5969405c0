"""The dense CRF as a torch layer that is trained together with the network before it (CRF-RNN)."""
