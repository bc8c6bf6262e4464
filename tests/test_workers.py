import threading

import pytest
import torch

from medinr.network.sweep import PIECE, Layers, Sweep
from medinr.network.trunk import Trunk, TrunkSettings, random_head
from medinr.workers import Workers


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_jobs(threads):
    workers = Workers()
    assert workers.count == threads
    assert workers.map(lambda job: job**2, list(range(7))) == [0, 1, 4, 9, 16, 25, 36]


def test_jobs_run_on_other_threads_each_with_one_of_torchs(threads):
    seen = Workers().map(lambda _: (threading.get_ident(), torch.get_num_threads()), [0] * 8)
    assert {count for _, count in seen} == {1}
    assert (threading.get_ident() in {ident for ident, _ in seen}) == (threads == 1)


def test_torch_keeps_its_threads_even_when_a_job_fails(threads):
    def fail(job: int) -> None:
        raise ValueError(job)

    with pytest.raises(ValueError, match="0"):
        Workers().map(fail, [0, 1])
    assert torch.get_num_threads() == threads


def test_jobs_have_no_gradient(threads):
    weight = torch.ones(3, requires_grad=True)
    assert [found.requires_grad for found in Workers().map(lambda job: weight * job, [1.0, 2.0])] == [False, False]


def test_a_sweep_gives_the_same_with_any_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    trunk = Trunk(TrunkSettings(width=24, depth=3, omega=10.0), generator).double()
    head = random_head(24, 2, 10.0, generator).double()
    points = torch.rand(3 * PIECE + 17, 2, generator=generator, dtype=torch.float64)
    values = torch.rand(len(points), 2, generator=generator, dtype=torch.float64)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            sweep = Sweep(Layers.of(trunk, head))
            found.append(sweep.run(points, values, curvature=True, input_gradient=True))
            again = sweep.run(points, values, curvature=True, input_gradient=True)
            for one, other in zip(found[-1].tensors(), again.tensors(), strict=True):
                assert torch.equal(one, other)
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for one, two in zip(found[0].tensors(), other.tensors(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(found[0].inputs, other.inputs, rtol=1e-12, atol=1e-14)
