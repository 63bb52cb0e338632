"""Predictor: the outputs of v2.0.2, and the law that a candidate's probabilities do not depend on its company."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from clair3.errors import ConfigError, InputError
from clair3.inference.checkpoint import load_model
from clair3.inference.predictor import CONVOLUTION_PIECE, PIECE, REACHES, FilledRows, Predictor, rescale_deep
from clair3.model import random_model

torch.set_num_threads(1)

SHAPES = {"pileup": (33, 18), "full_alignment": (33, 33, 8)}
TENSORS = [
    ("ont_pileup", "pileup"),
    ("hifi_pileup", "pileup"),
    ("ilmn_pileup", "pileup"),
    ("deep_ont_chrX_pileup", "pileup"),
    ("ont_full_alignment", "full_alignment"),
    ("hifi_full_alignment_all", "full_alignment"),
    ("ilmn_full_alignment", "full_alignment"),
    ("dwell_hac5_full_alignment", "full_alignment"),
    ("deep_hifi_chr21_full_alignment", "full_alignment"),  # no candidates
]


def candidates(kind, n):
    rng = np.random.default_rng(n)
    if kind == "pileup":
        return rng.integers(-60, 60, (n, *SHAPES[kind]), np.int32)
    return rng.integers(-100, 101, (n, *SHAPES[kind]), np.int8)


@pytest.mark.parametrize("name, kind", TENSORS)
def test_golden_outputs(shared_data, name, kind):
    golden = np.load(shared_data / "golden" / "tensors" / f"{name}.npz")
    model = load_model(shared_data / "models" / str(golden["model"]) / f"{kind}.pt", kind)
    probabilities = Predictor(model)(golden["tensor"])
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, golden["net_output"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_a_candidate_gets_the_same_bits_in_any_batch(kind):
    predict = Predictor(random_model(kind, 1))
    piece = PIECE[kind]
    x = candidates(kind, 2 * piece + 9)
    whole = predict(x)
    for start, n in [
        (0, 1),
        (7, 1),
        (3, 2),
        (1, 3),
        (piece, 4),
        (2, piece - 1),
        (9, piece),
        (5, piece + 1),
        (4, 2 * piece),
    ]:
        np.testing.assert_array_equal(predict(x[start : start + n]), whole[start : start + n], f"{n} from {start}")


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_a_candidate_gets_the_same_bits_at_every_place(kind):
    """One candidate after another visits each place of a piece, among other neighbours each time."""
    predict = Predictor(random_model(kind, 2))
    piece = PIECE[kind]
    x = candidates(kind, piece)
    expected = predict(x)
    for shift in range(1, piece, 1 if kind == "pileup" else 3):
        np.testing.assert_array_equal(predict(np.roll(x, shift, axis=0)), np.roll(expected, shift, axis=0))


@pytest.mark.parametrize("kind", ["pileup", "full_alignment"])
def test_threads_share_a_predictor(kind):
    predict = Predictor(random_model(kind, 3))
    x = candidates(kind, 90)
    expected = predict(x)
    with ThreadPoolExecutor(3) as pool:
        parts = pool.map(predict, [x[start : start + 15] for start in range(0, 90, 15)])
    np.testing.assert_array_equal(np.concatenate(list(parts)), expected)


def partly_filled(depth, channels=8):
    """Candidates with 0, 1, ... all rows filled in the middle, then with each row filled alone, then any stretch."""
    rng = np.random.default_rng(depth)
    stretches = [((depth - filled) // 2, filled) for filled in range(depth + 1)]
    stretches += [(row, 1) for row in range(depth)]
    stretches += [(start, int(rng.integers(1, depth - start + 1))) for start in rng.integers(0, depth, 20)]
    x = np.zeros((len(stretches), depth, 33, channels), np.int8)
    for candidate, (start, filled) in zip(x, stretches, strict=True):
        candidate[start : start + filled] = rng.integers(-100, 101, (filled, 33, channels))
    return x


def whole_features(model, x):
    """The same layers on every row, in pieces of the same size (the last one filled up)."""
    n = len(x)
    x = np.concatenate([x, np.zeros((-n % CONVOLUTION_PIECE, *x.shape[1:]), np.int8)])
    pieces = [model.features(torch.from_numpy(piece).float()) for piece in np.split(x, len(x) // CONVOLUTION_PIECE)]
    return torch.cat(pieces)[:n].numpy()


@pytest.mark.parametrize("conv_padding", ["symmetric", "tf_same"])
@pytest.mark.parametrize("depth, channels", [(89, 8), (89, 9), (55, 8), (64, 8), (20, 8)])
def test_skipping_empty_rows_changes_no_bit(depth, channels, conv_padding):
    model = random_model("full_alignment", 7, channels=channels, conv_padding=conv_padding)
    x = partly_filled(depth, channels)
    with torch.inference_mode():
        np.testing.assert_array_equal(FilledRows(model)(x), whole_features(model, x))


@pytest.mark.parametrize("depth", [89, 55])
def test_a_partly_filled_candidate_gets_the_same_bits_in_any_batch(depth):
    predict = Predictor(random_model("full_alignment", 8))
    x = partly_filled(depth)
    whole = predict(x)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(predict(x[order]), whole[order])
    for start in range(0, len(x), 7):
        np.testing.assert_array_equal(predict(x[start : start + 3]), whole[start : start + 3])


def test_fewer_rows_are_computed_for_fewer_reads():
    """Heights of the maps that the layers of 89 rows see, for each class: as many as the data reach, and no more."""
    model = random_model("full_alignment", 9)
    filled = FilledRows(model)
    with torch.inference_mode():
        classes = {reach: filled.make_frames(89, reach) for reach in REACHES}
    reached = {reach: [len(frame.reached) for frame in frames[0]] for reach, frames in classes.items()}
    # 9 rows from row 40: outputs 20-24 of the first convolution read one of them, then one more on each side per layer
    assert reached[4] == [5, 7, 9]
    assert reached == {4: [5, 7, 9], 10: [11, 13, 15], 16: [17, 19, 21], 20: [21, 23, 25]}


@pytest.mark.parametrize("filled", [3, 30])
def test_depths_that_the_network_does_not_serve(filled):
    x = np.zeros((2, 30, 33, 8), np.int8)
    x[:, 15 - filled // 2 : 15 + filled // 2 + 1] = 50
    with pytest.raises(InputError, match="tensors of 30 rows"):
        Predictor(random_model("full_alignment", 10))(x)


@pytest.mark.parametrize("heads, classes", [(2, 24), (4, 90)])
def test_no_candidates(heads, classes):
    predict = Predictor(random_model("pileup", 4, heads=heads))
    assert predict(candidates("pileup", 0)).shape == (0, classes)


def test_predicts_in_eval_mode():
    model = random_model("pileup", 5)
    x = candidates("pileup", 5)
    np.testing.assert_array_equal(Predictor(model.train())(x), Predictor(model)(x))


@pytest.mark.parametrize("piece", [0, 20, -32])
def test_pieces_that_are_refused(piece):
    with pytest.raises(ConfigError, match="multiple of 32"):
        Predictor(random_model("pileup", 6), piece=piece)


@pytest.mark.parametrize(
    "depth, count, scaled",
    [(600, -600, -144), (600, 300, 72), (216, -216, -216), (217, -217, -144), (217, 2, 1), (217, -1, 0), (300, -7, -3)],
)
def test_rescale(depth, count, scaled):
    x = np.full((1, 33, 18), count, np.int32)
    y = rescale_deep(x, np.array([depth], np.int32))
    assert y.dtype == np.int32
    assert (y == scaled).all()


def test_rescale_leaves_the_others_alone():
    x = candidates("pileup", 3)
    before = x.copy()
    y = rescale_deep(x, np.array([30, 400, 216], np.int32))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y[[0, 2]], before[[0, 2]])
    np.testing.assert_array_equal(y[1], np.trunc(before[1] / (400 / 144.0)))
    assert rescale_deep(x, np.array([30, 40, 216], np.int32)) is x


@pytest.mark.parametrize("kind, pieces", [("pileup", 3), ("full_alignment", 18 + 5)])
def test_the_work_can_be_ended_before_each_piece(kind, pieces):
    """130 candidates: three pieces of 64 pileups; eighteen of up to 8 maps in two classes, then five of 32 features."""
    shape = (130, 33, 18) if kind == "pileup" else (130, 89, 33, 8)
    x = np.zeros(shape, np.int32 if kind == "pileup" else np.int8)
    if kind == "full_alignment":
        x[::2, 20] = 1
    looks = []

    def check():
        looks.append(1)
        if len(looks) == pieces + 1:
            raise KeyboardInterrupt

    predict = Predictor(random_model(kind, 1))
    predict(x, check)
    assert len(looks) == pieces
    with pytest.raises(KeyboardInterrupt):
        predict(x, check)
