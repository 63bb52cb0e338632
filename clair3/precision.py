"""Networks of lower precision: the layers with nearly all of the arithmetic in 16 bits, the rest in float32.

The dense layers and the softmax stay in float32: in 16 bits a probability near 1 has two or three digits, and QUAL,
which is made of what is missing to 1, would take a handful of values.
"""

import torch
from torch import nn

from clair3.compute import BF16, FP16

DTYPES = {BF16: torch.bfloat16, FP16: torch.float16}


def lower_precision(model: nn.Module, precision: str) -> nn.Module:
    """The same network (Clair3_P or Clair3_F, changed in place) with its body in "bf16" or "fp16"; as it is for "fp32".

    It takes and gives what it did before: inputs of any dtype, float32 features and probabilities.
    """
    if precision not in DTYPES:
        return model
    dtype = DTYPES[precision]
    body = [getattr(model, name) for name in model.body]
    for layer in body:
        layer.to(dtype)
    body[0].register_forward_pre_hook(lambda _, inputs: (inputs[0].to(dtype),))
    model.L4.register_forward_pre_hook(lambda _, inputs: (inputs[0].float(),))
    return model
