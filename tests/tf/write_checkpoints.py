"""Write checkpoints of fresh networks with real TensorFlow, in both styles of v1 (spec/models.md 9).

`python write_checkpoints.py FOLDER`. Beside each checkpoint comes `<name>_io.npz`: inputs x, TensorFlow's probabilities
in float32 and float64, and every variable by its path. With `NETWORK=PREFIX ...` behind the folder the networks are not
fresh, but those of existing checkpoints, to check one's own models; NETWORK is one of OWN.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from keras_networks import FullAlignment, Pileup, draw_inputs, randomize

SEED = 5
CASES = {  # (network, options, SavedModel, trained for a step)
    "pileup": (Pileup, {}, True, True),
    "pileup_four_heads": (Pileup, {"four": True}, False, False),
    "ont": (FullAlignment, {"depth": 89}, True, False),
    "hifi": (FullAlignment, {"depth": 55}, False, True),
    "dwell_two_heads": (FullAlignment, {"depth": 89, "channels": 9, "four": False}, False, False),
}


OWN = {
    "pileup": (Pileup, {}),
    "ont": (FullAlignment, {"depth": 89}),
    "hifi": (FullAlignment, {"depth": 55}),
    "ilmn": (FullAlignment, {"depth": 55}),
    "dwell": (FullAlignment, {"depth": 89, "channels": 9}),
}
"""Networks as v1 and its users trained them."""


def variables_of(model):
    """Arrays by path: LSTM1/forward_layer/cell/kernel; the element of a Sequential is layer_with_weights-0."""
    found = {}

    def visit(layer, path):
        for name in ("kernel", "recurrent_kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance"):
            if isinstance(getattr(layer, name, None), tf.Variable):
                found["/".join((*path, name))] = getattr(layer, name).numpy()
        if isinstance(layer, tf.keras.Sequential):
            visit(layer.layers[0], (*path, "layer_with_weights-0"))
            return
        for name in ("forward_layer", "backward_layer", "cell", "conv", "bn", "conv1", "bn1", "conv2", "bn2"):
            if isinstance(child := layer.__dict__.get(name), tf.keras.layers.Layer):
                visit(child, (*path, name))

    for layer in model.layers:
        (name,) = (key for key, value in vars(model).items() if value is layer)
        visit(layer, (name,))
    return found


def in_float64(make, model):
    """The same network with all its arithmetic in float64."""
    tf.keras.backend.set_floatx("float64")
    try:
        twin = make()
        twin(np.zeros((16, *twin.shape)))
        for ours, theirs in zip(twin.weights, model.weights):  # noqa: B905  also Python 3.9
            ours.assign(tf.cast(theirs, tf.float64))
        return twin
    finally:
        tf.keras.backend.set_floatx("float32")


def write_answers(path, make, model, x, **more):
    answers = {"prob_f32": model(x).numpy(), "prob_f64": in_float64(make, model)(x).numpy()}
    np.savez_compressed(path, x=x, **answers, **variables_of(model), **more)
    spread = answers["prob_f64"].std(axis=0).mean()
    print(f"{path}: probabilities vary by {spread:.3f}")


def train_a_step(model, x):
    """So that the checkpoint holds an optimizer with its slots."""
    model.compile(optimizer=tf.keras.optimizers.legacy.Adam(1e-6), loss="mse")
    model.train_on_batch(x, np.zeros(model(x).shape, np.float32))


def main(folder):
    for number, (name, (network, options, saved_model, trained)) in enumerate(CASES.items()):
        rng = np.random.default_rng([SEED, number])
        tf.keras.utils.set_random_seed(SEED + number)

        def make(network=network, options=options):
            return network(**options)

        model = make()
        x = draw_inputs(model, rng)
        randomize(model, x, rng)
        if trained:
            train_a_step(model, x)
        prefix = folder / name
        if saved_model:
            model.save(prefix, save_format="tf")
        else:
            model.save_weights(prefix)
        write_answers(folder / f"{name}_io.npz", make, model, x)


def answer_for(folder, number, network, prefix):
    """What TensorFlow itself makes of an existing checkpoint: a prefix, or a SavedModel folder."""
    kind, options = OWN[network]

    def make():
        return kind(**options)

    model, saved = make(), Path(prefix, "variables", "variables")
    x = draw_inputs(model, np.random.default_rng(SEED))
    model(x)
    status = model.load_weights(str(saved) if saved.with_suffix(".index").exists() else prefix)
    status.assert_existing_objects_matched().expect_partial()
    write_answers(folder / f"own_{number}_io.npz", make, model, x, prefix=np.array(prefix))


if __name__ == "__main__":
    for number, own in enumerate(sys.argv[2:]):
        answer_for(Path(sys.argv[1]), number, *own.split("=", 1))
    if not sys.argv[2:]:
        main(Path(sys.argv[1]))
