"""Tensors to tensors. Any `nn.Module` from (N, *inputs) to (N, *outputs) is a network; these are ready-made ones."""

from unveil.networks.centred import Centred
from unveil.networks.conv import ConvDecoder, ConvEncoder
from unveil.networks.mlp import Mlp

__all__ = ["Centred", "ConvDecoder", "ConvEncoder", "Mlp"]
