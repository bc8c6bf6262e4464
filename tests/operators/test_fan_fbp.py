import math

import numpy as np
import pytest
import torch
from skimage.data import shepp_logan_phantom
from skimage.transform import rescale

from medinr.errors import GeometryError
from medinr.operators import FanBeam, ParallelBeam, Projector, fbp
from medinr.operators.ct.views import fan_redundancy

DISTANCE, DETECTOR = 160.0, 260.0


def _fan(size, count, span=2 * math.pi, start=0.0, **more):
    angles = start + torch.arange(count, dtype=torch.float64) * span / count
    return FanBeam((size, size), (1, 1), angles, DISTANCE, DETECTOR, 260, 1.2, **more)


def _error(image, reference):
    return float(torch.linalg.vector_norm(image - reference) / torch.linalg.vector_norm(reference))


@pytest.fixture(scope="module")
def phantom():
    image = rescale(shepp_logan_phantom(), 129 / 400, anti_aliasing=True)
    return 0.02 * torch.from_numpy(np.ascontiguousarray(image))


@pytest.fixture(scope="module")
def disc():
    axis = torch.arange(129, dtype=torch.float64) - 64
    distance = torch.hypot(axis[:, None] - 8, axis[None, :] + 14)  # off the axis of rotation
    return 0.0193 * torch.sigmoid(30 - distance), distance < 24


#: Half a rotation plus the curved detector's fan, the wider one.
SHORT = math.pi + 260 * 1.2 / DETECTOR + 0.02


@pytest.mark.parametrize("filter_", ["ramp", "shepp-logan", "hann"])
@pytest.mark.parametrize("curved", [False, True])
def test_disc_comes_back_with_its_attenuation(disc, filter_, curved):
    image, inside = disc
    fan = _fan(129, 180, curved=curved)
    found = fbp(fan(image), fan, filter_)[inside]
    assert float(found.mean()) == pytest.approx(0.0193, rel=3e-3)
    assert float(found.std()) < 0.01 * 0.0193


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("span", [SHORT, 4.6, 5.8])
def test_short_scans_give_the_attenuation_too(disc, curved, span):
    image, inside = disc
    fan = _fan(129, 160, span, start=0.9, curved=curved)
    found = fbp(fan(image), fan)[inside]
    assert float(found.mean()) == pytest.approx(0.0193, rel=5e-3)
    assert float(found.std()) < 0.015 * 0.0193


@pytest.mark.parametrize("curved", [False, True])
def test_a_little_less_than_the_short_scan_is_no_cliff(disc, curved):
    # The disc does not fill the fan, so that its middle is still seen from everywhere.
    image, inside = disc
    fan = _fan(129, 150, SHORT - 0.3, start=-0.3, curved=curved)
    found = fbp(fan(image), fan)[inside]
    assert float(found.mean()) == pytest.approx(0.0193, rel=0.02)


@pytest.mark.parametrize("curved", [False, True])
def test_a_phantom_as_well_as_from_parallel_beams(phantom, curved):
    fan = _fan(129, 360, curved=curved)
    parallel = ParallelBeam((129, 129), (1, 1), torch.arange(180, dtype=torch.float64) * math.pi / 180)
    full = _error(fbp(fan(phantom), fan), phantom)
    assert full < 1.1 * _error(fbp(parallel(phantom), parallel), phantom)
    short = _fan(129, 230, SHORT, curved=curved)
    assert _error(fbp(short(phantom), short), phantom) < 1.1 * full


@pytest.mark.parametrize("curved", [False, True])
def test_a_shifted_detector_changes_little(phantom, curved):
    straight, shifted = _fan(129, 200, curved=curved), _fan(129, 200, curved=curved, detector_offset=7.7)
    image = fbp(straight(phantom), straight, "hann")
    assert _error(fbp(shifted(phantom), shifted, "hann"), image) < 0.02


def test_parallel_beams_off_centre(phantom):
    angles = torch.arange(180, dtype=torch.float64) * math.pi / 180
    straight = ParallelBeam((129, 129), (1, 1), angles, 240, 1.0)
    shifted = ParallelBeam((129, 129), (1, 1), angles, 240, 1.0, centre=-17.0)
    torch.testing.assert_close(fbp(shifted(phantom), shifted), fbp(straight(phantom), straight))
    # The wrong centre is not forgiven.
    assert _error(fbp(shifted(phantom), straight), phantom) > 0.5


def test_order_and_repetition_of_views_do_not_matter(phantom):
    fan = _fan(129, 120)
    sinogram = fan(phantom)
    image = fbp(sinogram, fan)
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fbp(sinogram[order], fan.select(order)), image)
    twice = torch.cat([order, order])
    torch.testing.assert_close(fbp(sinogram[twice], fan.select(twice)), image)


@pytest.mark.parametrize("span", [3.3, 3.7, 4.0, 5.1, 6.0])
def test_every_line_counts_once(span):
    # Angles and elements so that the opposite ray of each is measured or just outside.
    step, fan = 0.0025, torch.linspace(-0.4, 0.4, 81, dtype=torch.float64)
    count = round(span / step)
    weights = fan_redundancy(torch.arange(count, dtype=torch.float64) * step, fan)
    assert float(weights.min()) >= 0.0
    assert float(weights.max()) <= 1.0
    view, element = torch.meshgrid(torch.arange(count), torch.arange(81), indexing="ij")
    beta = (view + 0.5) * step
    later = beta + math.pi + 2 * fan[element]
    measured = later < count * step
    at = (later / step - 0.5).clamp(0, count - 1)
    lower = at.floor().long().clamp(max=count - 2)
    opposite = weights[:, torch.arange(80, -1, -1)]
    other = torch.lerp(opposite[lower, element], opposite[lower + 1, element], at - lower)
    # At the rim itself the fading weights of a scan that is too short have nothing to interpolate between.
    tolerance = 2e-3 if span > math.pi + 0.8 else 0.015
    torch.testing.assert_close(
        (weights + other)[measured], torch.ones(int(measured.sum())).double(), atol=tolerance, rtol=0
    )
    assert 0.05 < float(measured.double().mean()) < 0.5


def test_full_turns_and_too_short_scans_have_even_weights():
    fan = torch.linspace(-0.4, 0.4, 5, dtype=torch.float64)
    for count, span, expected in ((100, 2 * math.pi, 0.5), (101, 4 * math.pi, 0.5), (100, 2.2, 1.0), (1, 0.1, 1.0)):
        weights = fan_redundancy(torch.arange(count, dtype=torch.float64) * span / count, fan)
        assert torch.equal(weights, torch.full((count, 5), expected, dtype=torch.float64))


def test_batches_complex_values_and_precision():
    fan = FanBeam((12, 10), (1, 1), torch.arange(9) * 0.7, 30.0, 40.0, 20, 1.2)
    sinogram = torch.randn(2, 3, *fan.range.shape)
    image = fbp(sinogram, fan)
    assert image.shape == (2, 3, 12, 10)
    assert image.dtype == torch.float32
    torch.testing.assert_close(fbp(sinogram[1, 2], fan), image[1, 2])
    torch.testing.assert_close(fbp(torch.complex(sinogram, -sinogram), fan).imag, -image)


def test_a_projector_of_neither_kind_is_refused():
    class Odd(Projector):
        offsets = property(lambda self: torch.zeros(1, dtype=torch.float64))

        def lines(self):
            return torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)

    with pytest.raises(GeometryError, match="ParallelBeam or a FanBeam"):
        fbp(torch.zeros(1, 1), Odd((2, 2), (1, 1), [0.0], 1, 1.0))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's own, in jvp
@pytest.mark.parametrize("beam", ["parallel", "flat", "curved"])
@pytest.mark.parametrize("count", [1, 3])
def test_compiled_sums_are_those_of_torch_with_their_derivatives(generator, beam, count):
    if beam == "parallel":
        # The detector is shorter than the image, and its middle beside the axis.
        angles = [0.0, 0.4, math.pi / 2, 2.0, math.pi, 5.0]
        ways = [ParallelBeam((21, 18), (1.1, 0.9), angles, 13, 1.2, centre=0.7, compiled=way) for way in (True, False)]
    else:
        more = {"curved": beam == "curved", "detector_offset": 1.3}
        angles = torch.arange(9) * 2 * math.pi / 9
        ways = [
            FanBeam((21, 18), (1.1, 0.9), angles, 40.0, 60.0, 17, 1.4, compiled=way, **more) for way in (True, False)
        ]
    compiled, plain = ways
    sinogram = torch.randn((count, *plain.range.shape), dtype=torch.float64, generator=generator)
    expected = fbp(sinogram, plain)
    torch.testing.assert_close(fbp(sinogram, compiled), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(fbp(sinogram.float(), compiled), expected.float(), rtol=0, atol=1e-6)
    gradients = []
    for way in (compiled, plain):
        given = sinogram.clone().requires_grad_()
        gradients.append(torch.autograd.grad(fbp(given, way).square().sum(), given)[0])
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)
    tangent = torch.func.jvp(lambda s: fbp(s, compiled), (sinogram,), (sinogram,))[1]
    torch.testing.assert_close(tangent, expected, rtol=0, atol=1e-12)
