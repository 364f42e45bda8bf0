"""The pretended accelerator itself: it refuses what a real one refuses, and passes right code."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.machines.pretended import available, pretended

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")

# What can be done with floats (3, 4) and rows (3,) long, of the device and of the CPU each.
REFUSED = {
    "a sum": lambda there, rows, here, few: there + here,
    "a sum in place": lambda there, rows, here, few: there.add_(here),
    "a sum into the CPU": lambda there, rows, here, few: here.add_(there),
    "a number into the CPU": lambda there, rows, here, few: torch.zeros(()).add_(there.sum()),
    "a number of the device": lambda there, rows, here, few: here * there.sum(),
    "a product": lambda there, rows, here, few: there @ here.T,
    "a layer": lambda there, rows, here, few: F.linear(there, here),
    "a choice": lambda there, rows, here, few: torch.where(here > 0, there, 0),
    "rows laid together": lambda there, rows, here, few: torch.cat([there, here]),
    "numbers laid together": lambda there, rows, here, few: torch.stack([there.sum(), here.sum()]),
    "rows of the CPU": lambda there, rows, here, few: here[rows],
    "rows put into the CPU": lambda there, rows, here, few: here.index_put_([few], there),
    "rows gathered": lambda there, rows, here, few: there.gather(0, few[:, None]),
    "an embedding": lambda there, rows, here, few: F.embedding(few, there),
    "a loss": lambda there, rows, here, few: F.cross_entropy(there, few),
    "an average": lambda there, rows, here, few: torch._foreach_lerp_([here], [there], 0.5),
}
ALLOWED = {
    "a number of the CPU": lambda there, rows, here, few: there * here.sum(),
    "a choice of two numbers": lambda there, rows, here, few: torch.where(
        there > 0, here.sum(), here.mean()
    ),
    "rows of the device": lambda there, rows, here, few: there[few],
    "a copy": lambda there, rows, here, few: here.copy_(there),
    "a loss": lambda there, rows, here, few: F.cross_entropy(there, rows),
    "one of each": lambda there, rows, here, few: F.one_hot(rows, 4) * there,
    "a new one": lambda there, rows, here, few: torch.arange(3, device=there.device) + rows,
}


def given(kind: str) -> list[torch.Tensor]:
    both = torch.ones(3, 4), torch.arange(3)
    return [x.to(kind) for x in both] + [x.clone() for x in both]


@pytest.fixture(params=["mps", "cuda"])
def machine(request):
    with pretended(request.param) as machine:
        yield machine


@pytest.mark.parametrize("name", REFUSED)
def test_what_lies_in_two_places_does_not_meet(machine, name):
    with pytest.raises(RuntimeError, match="same device"):
        REFUSED[name](*given(machine.kind))


@pytest.mark.parametrize("name", ALLOWED)
def test_what_lies_in_one_place_meets_and_so_may_copies_indices_and_numbers(machine, name):
    ALLOWED[name](*given(machine.kind))


@pytest.mark.parametrize("name", ALLOWED)
def test_nothing_is_refused_on_a_cpu_alone(name):
    with pretended("mps"):
        ALLOWED[name](*given("cpu"))


def test_it_refuses_whatever_torch_s_fake_tensors_refuse():
    refused = set()
    for name, work in (REFUSED | ALLOWED).items():
        with FakeTensorMode():
            both = torch.empty(3, 4), torch.empty(3, dtype=torch.long)
            mixed = [torch.empty_like(x, device=place) for place in ("cuda", "cpu") for x in both]
            try:
                work(*mixed)
            except RuntimeError as error:
                if "same device" in str(error):
                    refused.add(name)
    assert len(refused) > 8 and refused <= REFUSED.keys()


def test_views_gradients_and_what_is_made_of_a_tensor_lie_where_it_lies(machine):
    x = torch.randn(2, 3).to(machine.kind).requires_grad_()
    y = (x.T[1:] * 2).exp()
    y.sum().backward()
    made = [
        y,
        x.grad,
        x.detach(),
        x.data,
        x.new_zeros(2),
        x.new_tensor([1.0]),
        torch.randn_like(x),
        x.float(),
        x + 1,
    ]
    assert {each.device for each in made} == {machine.device}
    assert (x.is_mps, x.is_cuda, x.is_cpu) == (machine.kind == "mps", machine.kind == "cuda", False)
    assert torch.zeros(2).device.type == "cpu" and x.cpu().device.type == "cpu"


def test_the_gradient_of_a_move_goes_back_to_where_the_tensor_was(machine):
    x = torch.ones(3, requires_grad=True)
    (x.to(machine.kind) * torch.arange(3.0, device=machine.kind)).sum().backward()
    assert x.grad.device.type == "cpu" and x.grad.tolist() == [0, 1, 2]


def test_a_network_is_moved_copied_saved_filled_and_trained_where_it_lies(machine):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    pictures = torch.randn(3, 1, 4, 4)
    expected = deepcopy(net)
    net.to(machine.kind)
    copy = deepcopy(net)
    copy.load_state_dict({name: x.cpu() for name, x in net.state_dict().items()})
    for each in (*copy.parameters(), *copy.buffers(), *net.state_dict().values()):
        assert each.device == machine.device
    for module, x in ((expected, pictures), (copy, pictures.to(machine.kind))):
        optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, fused=True)
        for _ in range(2):
            module(x).square().mean().backward()
            optimizer.step()
    for name, x in copy.state_dict().items():
        assert x.device == machine.device
        assert torch.equal(x.cpu(), expected.state_dict()[name])


def test_a_gradient_in_the_wrong_place_is_met_in_the_backward_pass(machine):
    x = torch.ones(3, device=machine.kind, requires_grad=True)
    x.grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="same device"):
        (2 * x).sum().backward()


def test_mps_has_no_float64_and_cuda_has():
    double = torch.ones(2, dtype=torch.float64)
    with pretended("mps"):
        assert double.to("mps", torch.float32).dtype == torch.float32
        assert (torch.ones(2, device="mps") * double.sum()).dtype == torch.float32
        makers = (
            lambda: double.to("mps"), lambda: torch.ones(2).to("mps").double(),
            lambda: torch.zeros(2, dtype=torch.float64, device="mps"),
            lambda: torch.as_tensor(torch.ones(2).to("mps"), dtype=torch.float64),
            lambda: nn.Linear(2, 2).double().to("mps"),
        )  # fmt: skip
        for make in makers:
            with pytest.raises(TypeError, match="doesn't support float64"):
                make()
    with pretended("cuda"):
        assert double.to("cuda").dtype == torch.float64


def test_mps_lacks_what_torch_s_table_says_and_cuda_does_not():
    with pretended("mps"), pytest.raises(NotImplementedError, match="_pdist_forward"):
        torch.pdist(torch.ones(3, 2, device="mps"))
    with pretended("cuda"):
        torch.pdist(torch.ones(3, 2, device="cuda"))


def test_numpy_is_given_only_what_lies_on_the_cpu(machine):
    x = torch.ones(2, device=machine.kind)
    for read in (lambda: x.numpy(), lambda: x.__array__()):
        with pytest.raises(TypeError, match="device type tensor to numpy"):
            read()
    assert x.cpu().numpy().sum() == 2


def test_a_generator_draws_where_it_lives(machine):
    with pytest.raises(RuntimeError, match=f"Expected a '{machine.kind}' device type"):
        torch.randn(2, generator=torch.Generator(), device=machine.kind)
    with pytest.raises(RuntimeError, match="Expected a 'cpu' device type"):
        torch.randn(2, generator=torch.Generator(machine.kind))
    with pytest.raises(RuntimeError, match="for generator"):
        torch.ones(3, device=machine.kind).multinomial(2, generator=torch.Generator())
    own = torch.Generator(machine.kind).manual_seed(1)
    assert torch.randn(2, generator=own, device=own.device).device == machine.device


def test_it_counts_each_wait_for_the_device_and_each_way_to_it(machine):
    x = torch.ones(3).to(machine.kind)
    looks = (
        lambda: x.sum().item(), lambda: bool((x > 0).all()), lambda: float(x[0]),
        lambda: int(x[0]), lambda: range(3)[x[0].long()], lambda: x.tolist(), lambda: x.cpu(),
        lambda: x.to("cpu"), lambda: x.nonzero(), lambda: x[x > 0], lambda: torch.equal(x, x),
        lambda: torch.zeros(3).copy_(x), lambda: f"{x[0]:g}",
    )  # fmt: skip
    for count, look in enumerate(looks, start=1):
        look()
        assert machine.waits.total() == count
    before = machine.copies.total()
    for count, bring in enumerate(
        (lambda: torch.ones(3).to(x), lambda: x.copy_(torch.ones(3)), lambda: x[torch.tensor([0])]),
        start=1,
    ):
        bring()
        assert machine.copies.total() == before + count
    x[x > 0] = 1.0  # fills, and need not know how many
    (x * 2).exp().argmax().add_(1), x.to(machine.kind), x.to(torch.float16), len(x), x.shape
    assert machine.waits.total() == len(looks) and machine.copies.total() == before + 3


@NO_GPU
def test_the_accelerators_are_there_for_whoever_asks_and_gone_afterwards():
    with available("mps", "cuda"):
        assert torch.cuda.is_available() and torch.backends.mps.is_available()
        assert torch.accelerator.is_available()
        with pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
            torch.ones(2).to("cuda")
        with pytest.raises((RuntimeError, NotImplementedError)):
            torch.ones(2).to("mps")
        layer = nn.Linear(2, 2)  # what stays on the CPU is trained as ever
        layer(torch.ones(1, 2)).sum().backward()
        torch.optim.AdamW(layer.parameters(), fused=True).step()
    assert torch.backends.mps.is_available() == torch.backends.mps.is_built()
