"""Networks between images and grids of z: any size, and every cell in its place."""

import pytest
import torch

from unveil.networks import GridDecoder, GridEncoder

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.mark.parametrize("size", [(28, 28), (7, 5), (1, 9)])
def test_grids_reach_any_size(size):
    event = (2, *size)
    encoder = GridEncoder(event, (4, 8), 3)
    z = encoder(torch.randn(5, *event))
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    assert z.shape == (5, rows * columns, 3)
    assert GridDecoder(3, (8, 4), event)(z).shape == (5, *event)


def test_a_cell_of_the_grid_stays_where_it_is():
    decoder = GridDecoder(3, (4,), (1, 28, 28))
    z = torch.zeros(1, 196, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(decoder(z)[0, 0, 3, 21], z)
    hit = gradient[0].abs().sum(-1).unflatten(0, (14, 14)).nonzero().float()
    assert (hit.mean(0) - torch.tensor([1.5, 10.5])).abs().max() < 1
