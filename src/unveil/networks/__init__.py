"""Tensors to tensors. Any `nn.Module` from (N, *inputs) to (N, *outputs) is a network; these are ready-made ones."""

from unveil.networks.centred import Centred
from unveil.networks.conv import ConvDecoder, ConvEncoder
from unveil.networks.grid import GridDecoder, GridEncoder, Summed
from unveil.networks.ladder import ConvLadder, DenseLadder
from unveil.networks.mlp import Mlp
from unveil.networks.residual import ConvBlock, DenseBlock, PixelDecoder, ResidualDecoder, ResidualEncoder, Rise

__all__ = [
    "Centred",
    "ConvBlock",
    "ConvDecoder",
    "ConvEncoder",
    "ConvLadder",
    "DenseBlock",
    "DenseLadder",
    "GridDecoder",
    "GridEncoder",
    "Mlp",
    "PixelDecoder",
    "ResidualDecoder",
    "ResidualEncoder",
    "Rise",
    "Summed",
]
