import pytest
import torch

from medinr.errors import GeometryError
from medinr.operators import FanBeam, ParallelBeam, subsets

PROJECTORS = {
    "parallel": lambda: ParallelBeam((9, 12), (1, 1), torch.arange(11) * 0.3, centre=1.3),
    "fan": lambda: FanBeam((9, 12), (1, 1), torch.arange(11) * 0.3, 20, 30, 14, 1.6, curved=True, detector_offset=2.0),
}


@pytest.mark.parametrize("projector", PROJECTORS.values(), ids=PROJECTORS)
@pytest.mark.parametrize("count", [1, 3, 11])
def test_subsets_are_the_interleaved_views(projector, count):
    whole = projector()
    image = torch.rand(2, 9, 12, dtype=torch.float64)
    sinogram = whole(image)
    parts = subsets(whole, count)
    assert torch.equal(torch.cat([part.indices for part in parts]).sort().values, torch.arange(11))
    for start, (operator, indices) in enumerate(parts):
        assert indices.tolist() == list(range(start, 11, count))
        torch.testing.assert_close(operator(image), sinogram[..., indices, :])
    total = sum(part.operator.H(sinogram[..., part.indices, :]) for part in parts)
    torch.testing.assert_close(total, whole.H(sinogram))


def test_subsets_share_nothing_mutable():
    whole = PROJECTORS["parallel"]()
    before = whole(torch.ones(9, 12))
    parts = subsets(whole, 2)
    parts[0].operator(torch.ones(9, 12))
    parts[0].operator.angles.add_(1.0)
    assert torch.equal(PROJECTORS["parallel"]().angles, whole.angles)
    assert torch.equal(whole(torch.ones(9, 12)), before)
    stores = [vars(operator)["_ready"] for operator in (whole, parts[0].operator, parts[1].operator)]
    assert len({id(store) for store in stores}) == 3


@pytest.mark.parametrize("count", [0, 12])
def test_impossible_subsets_are_refused(count):
    with pytest.raises(GeometryError, match=f"between 1 and 11 subsets of 11 views; got {count}"):
        subsets(PROJECTORS["fan"](), count)


@pytest.mark.parametrize("views", [[], [11], [-1], [[0, 1]]])
def test_views_that_are_not_there_are_refused(views):
    with pytest.raises(GeometryError, match="views 0 to 10"):
        PROJECTORS["parallel"]().select(views)
