"""What computes a frozen network: torch, OpenVINO or ONNX Runtime."""
