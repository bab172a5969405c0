"""Weights of others: Caffe, TensorFlow and PyTorch files become model folders, without Caffe or TensorFlow."""
