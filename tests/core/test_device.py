import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwright.core.device import KINDS, Devices, DeviceWish, Placement, parse_devices

NUMBERED = ("cuda", "tensorrt", "migraphx", "openvino", "dml")


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("cpu", (Devices("cpu"),)),
        ("cuda", (Devices("cuda"),)),
        ("cuda:1", (Devices("cuda", (1,)),)),
        ("cuda:0,1", (Devices("cuda", (0, 1)),)),
        ("cuda:0,1,cpu", (Devices("cuda", (0, 1)), Devices("cpu"))),
        (" tensorrt:0 , cuda:0,cpu", (Devices("tensorrt", (0,)), Devices("cuda", (0,)), Devices("cpu"))),
    ],
)
def test_a_wish_names_kinds_in_order_each_with_its_numbers(text, choices):
    assert parse_devices(text) == DeviceWish(choices)


def test_automatic_ends_at_the_cpu():
    wish = parse_devices("auto")
    assert wish.automatic
    assert wish.choices[-1] == Devices("cpu")


@pytest.mark.parametrize(
    "text",
    ["", "gpu", "auto,cpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "0", "cuda,0", "cuda:0,0", "cpu,cpu", "cuda:²"],
)
def test_what_is_no_wish_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match=r"\w"):
        parse_devices(text)


@given(st.text(alphabet="cudapuo:,0 1", max_size=20))
def test_any_text_is_a_wish_or_refused(text):
    try:
        wish = parse_devices(text)
    except ValueError:
        return
    assert wish.most >= 1
    assert all(one.kind in KINDS for one in wish.choices)


@given(st.dictionaries(st.sampled_from(NUMBERED), st.lists(st.integers(0, 15), min_size=1, max_size=4, unique=True)))
def test_what_is_written_is_read_back(wanted):
    text = ",".join([f"{kind}:{','.join(map(str, ids))}" for kind, ids in wanted.items()] + ["cpu"])
    choices = tuple(Devices(kind, tuple(ids)) for kind, ids in wanted.items())
    assert parse_devices(text) == DeviceWish((*choices, Devices("cpu")))


def test_a_placement_names_each_device():
    assert Placement("cuda", (0, 2), 2).names == ("cuda:0", "cuda:2")
    assert Placement().names == ("cpu",)
