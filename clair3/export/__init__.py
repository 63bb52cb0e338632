"""Export of the networks for other runtimes: TorchScript, ONNX, a model repository of Triton."""
