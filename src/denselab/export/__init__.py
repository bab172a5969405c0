"""A trained model leaves: into ONNX, OpenVINO and torch.export, each measured against the network it came from."""
