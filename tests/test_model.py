"""The networks against the tables of spec/models.md and the golden checkpoints of v2.0.2."""

import io
import lzma

import numpy as np
import pytest
import torch

from clair3.errors import ConfigError, InputError
from clair3.model import Clair3_F, Clair3_P, DownBlock, paddings_differ, pool, random_model

torch.set_num_threads(1)

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
LSTM = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(1)


def dense(name, inputs, outputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def tail(features, width, heads):
    """Entries from L4 on, as the tables of sections 2 and 3 list them."""
    entries = dense("L4", features, width) | dense("L5_1", width, 128) | dense("L5_2", width, 128)
    entries |= dense("Y_gt21_logits", 128, 21) | dense("Y_genotype_logits", 128, 3)
    if heads == 4:
        entries |= dense("L5_3", width, 128) | dense("L5_4", width, 128)
        entries |= dense("Y_indel_length_logits_1", 128, 33) | dense("Y_indel_length_logits_2", 128, 33)
    return entries


def pileup_entries(heads):
    entries = {}
    for name, inputs, units in (("LSTM1", 18, 128), ("LSTM2", 256, 160)):
        shapes = ((4 * units, inputs), (4 * units, units), (4 * units,), (4 * units,))
        for direction in ("", "_reverse"):
            entries |= {f"{name}.{key}{direction}": shape for key, shape in zip(LSTM, shapes, strict=True)}
    return entries | tail(10560, 128, heads)


def full_alignment_entries(channels, heads):
    def convolution(name, inputs, outputs):
        return {f"{name}.weight": (outputs, inputs, 3, 3), f"{name}.bias": (outputs,)}

    def norm(name, n):
        return {f"{name}.{key}": () if key == "num_batches_tracked" else (n,) for key in BN}

    entries = {}
    for k, (inputs, outputs) in enumerate(((channels, 64), (64, 128), (128, 256)), start=1):
        down, block = f"conv{2 * k - 1}", f"res_block{k}.0"
        entries |= convolution(f"{down}.conv", inputs, outputs) | norm(f"{down}.bn", outputs)
        for j in (1, 2):
            entries |= convolution(f"{block}.conv{j}", outputs, outputs) | norm(f"{block}.bn{j}", outputs)
    return entries | tail(3584, 256, heads)


@pytest.mark.parametrize(
    "model, entries, parameters",
    [
        (Clair3_P(), pileup_entries(2), 2_074_520),
        (Clair3_P(heads=4), pileup_entries(4), 2_116_058),
        (Clair3_F(), full_alignment_entries(8, 4), 2_986_522),
        (Clair3_F(channels=9), full_alignment_entries(9, 4), 2_987_098),
        (Clair3_F(heads=2), full_alignment_entries(8, 2), 2_912_216),
    ],
)
def test_state_dict_has_the_published_entries_in_their_order(model, entries, parameters):
    assert [(key, tuple(value.shape)) for key, value in model.state_dict().items()] == list(entries.items())
    assert sum(weight.numel() for weight in model.parameters()) == parameters


@pytest.mark.parametrize(
    "checkpoint, arrays",
    [
        ("pileup", "pileup_ont"),
        ("full_alignment", "full_alignment_ont"),
        ("full_alignment", "full_alignment_hifi"),
        ("full_alignment_dwell", "full_alignment_dwell_ont"),
    ],
)
def test_golden_outputs(shared_data, checkpoint, arrays):
    folder = shared_data / "golden" / "torch"
    packed = (folder / f"{checkpoint}.pt.xz").read_bytes()
    state = torch.load(io.BytesIO(lzma.decompress(packed)), weights_only=True)
    golden = np.load(folder / f"{arrays}_io.npz")
    x = torch.from_numpy(golden["x"])
    model = Clair3_P() if checkpoint == "pileup" else Clair3_F(channels=x.shape[-1])
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state)
    model.eval()
    with torch.inference_mode():
        single = model.predict(x).numpy()
        double = model.double().predict(x).numpy()
    np.testing.assert_allclose(single, golden["prob_f32"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(single, golden["prob_f64"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(double, golden["prob_f64"], rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", [random_model("pileup", 1, heads=4), random_model("full_alignment", 1, heads=2)])
def test_training_form_lists_the_heads(model):
    x = torch.ones((2, 33, 18) if model.kind == "pileup" else (2, 55, 33, 8), dtype=torch.int8)
    heads = model(x)
    assert [tuple(head.shape) for head in heads] == [(2, 21), (2, 3), (2, 33), (2, 33)][: model.heads]
    assert torch.equal(torch.cat(heads, dim=1), model.predict(x))
    torch.testing.assert_close(torch.stack([head.sum(1) for head in heads]), torch.ones(model.heads, 2))


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_every_parameter_learns(kind):
    model = random_model(kind, 2, heads=4).train()
    x = torch.randint(-9, 10, (4, 33, 18) if kind == "pileup" else (4, 33, 33, 8))
    sum(head[:, 0].log().sum() for head in model(x)).backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_channels_first_input_gives_the_same():
    model = random_model("full_alignment", 3)
    x = torch.randint(-100, 101, (3, 55, 33, 8), dtype=torch.int8)
    with torch.inference_mode():
        expected = model.predict(x)
        torch.testing.assert_close(model.predict(x.permute(0, 3, 1, 2).contiguous()), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("depth", [17, 24, 33, 100])
def test_depths_that_fit(depth):
    with torch.inference_mode():
        assert random_model("full_alignment", 4).predict(torch.zeros(1, depth, 33, 8)).shape == (1, 90)


@pytest.mark.parametrize("depth", [1, 8, 16, 25, 32])
def test_depths_that_are_refused(depth):
    with torch.inference_mode(), pytest.raises(InputError, match=f"tensors of {depth} rows"):
        random_model("full_alignment", 4).predict(torch.zeros(1, depth, 33, 8))


def tiles_by_hand(image, bins):
    """Section 3 word for word: zero padding, half of it before, then the maximum of each window, channels last."""
    window = [-(-n // bins) for n in image.shape[1:]]
    count = [-(-n // w) for n, w in zip(image.shape[1:], window, strict=True)]
    spare = [c * w - n for c, w, n in zip(count, window, image.shape[1:], strict=True)]
    padded = np.pad(image, [(0, 0)] + [(s // 2, s - s // 2) for s in spare])
    tiles = padded.reshape(len(image), count[0], window[0], count[1], window[1])
    return tiles.max(axis=(2, 4)).transpose(1, 2, 0).ravel()


@pytest.mark.parametrize("height", range(1, 18))
@pytest.mark.parametrize("bins", [3, 2, 1])
def test_pooling(height, bins):
    image = np.random.default_rng(height).random((4, height, 5), np.float32)
    np.testing.assert_array_equal(pool(torch.from_numpy(image[None]), bins)[0], tiles_by_hand(image, bins))


@pytest.mark.parametrize("height, width", [(28, 17), (14, 9), (45, 17), (6, 8), (5, 8)])
@pytest.mark.parametrize("conv_padding", ["symmetric", "tf_same"])
def test_convolution_padding(height, width, conv_padding):
    """The windows of section 8: they start at -1, 1, 3, ... but at 0, 2, 4, ... for "same" on an even axis."""
    block = DownBlock(2, 3, conv_padding).double()
    x = torch.rand(1, 2, height, width, dtype=torch.float64)
    before = [1 if conv_padding == "symmetric" else n % 2 for n in (height, width)]
    padded = np.pad(x[0].numpy(), [(0, 0), (before[0], 1), (before[1], 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    with torch.no_grad():
        expected = np.einsum("ihwab,oiab->ohw", windows, block.conv.weight) + block.conv.bias.numpy()[:, None, None]
        np.testing.assert_allclose(block.convolve(x)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("depth, differ", [(89, False), (55, True), (33, False), (64, True)])
def test_paddings_agree_only_at_odd_heights(depth, differ):
    x = torch.randint(-100, 101, (2, depth, 33, 8), dtype=torch.int8)
    with torch.inference_mode():
        symmetric, tf_same = (
            random_model("full_alignment", 5, conv_padding=padding).predict(x) for padding in ("symmetric", "tf_same")
        )
    assert paddings_differ(depth) == differ
    assert torch.equal(symmetric, tf_same) != differ


@pytest.mark.parametrize("options", [{"heads": 3}, {"conv_padding": "same"}])
def test_impossible_networks(options):
    with pytest.raises(ConfigError):
        Clair3_F(**options)


@pytest.mark.parametrize("kind, shape", [("pileup", (64, 33, 18)), ("full_alignment", (64, 55, 33, 8))])
def test_random_models_vary_and_repeat(kind, shape):
    x = torch.randint(-100, 101, shape, dtype=torch.int8)
    with torch.inference_mode():
        first, again, other = (random_model(kind, seed).predict(x) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)
    assert len(set(first[:, :21].argmax(1).tolist())) > 5
    assert set(first[:, 21:24].argmax(1).tolist()) == {0, 1, 2}
