"""Parts of a training step on the CPU as compiled loops; swap.py says which layers run as them.

The loops themselves, in `*_kernels.py`, need no torch, so that a small process can compile them.
"""
