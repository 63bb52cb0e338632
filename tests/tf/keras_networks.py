"""Clair3 v1's networks in Keras 2.15, from spec/models.md 2-4, 8 and 9; needs TensorFlow, so only the other process of
this folder imports it."""

import math

import numpy as np
import tensorflow as tf

layers = tf.keras.layers
BN_EPS = 1e-3
BINS = (3, 2, 1)


def dense(units, **options):
    return layers.Dense(units, activation="selu", **options)


class Heads(tf.keras.Model):
    """The dense layers that both networks end with."""

    def add_heads(self, width, four):
        self.L4 = dense(width)
        self.branches = []  # of names: the layers themselves are attributes, as v1's checkpoints name them
        sizes = {"Y_gt21_logits": 21, "Y_genotype_logits": 3}
        if four:
            sizes |= {"Y_indel_length_logits_1": 33, "Y_indel_length_logits_2": 33}
        for number, (name, classes) in enumerate(sizes.items(), 1):
            setattr(self, f"L5_{number}", dense(128))
            setattr(self, name, dense(classes))
            self.branches.append((f"L5_{number}", name))

    def call(self, x):
        x = self.L4(self.features(x))
        heads = [getattr(self, name)(getattr(self, branch)(x)) for branch, name in self.branches]
        return tf.concat([tf.nn.softmax(head) for head in heads], axis=1)


class Pileup(Heads):
    """(N, 33, 18) counts to (N, 24) or (N, 90) probabilities."""

    shape = (33, 18)

    def __init__(self, four=False):
        super().__init__()
        self.LSTM1 = layers.Bidirectional(layers.LSTM(128, return_sequences=True))
        self.LSTM2 = layers.Bidirectional(layers.LSTM(160, return_sequences=True))
        self.add_heads(128, four)

    def features(self, x):
        x = self.LSTM2(self.LSTM1(tf.cast(x, self.compute_dtype)))
        return tf.reshape(x, (-1, 33 * 320))


class Down(layers.Layer):
    """Convolution with stride 2 and "same" padding, batch norm, ReLU."""

    def __init__(self, channels):
        super().__init__()
        self.conv = layers.Conv2D(channels, 3, strides=2, padding="same")
        self.bn = layers.BatchNormalization(epsilon=BN_EPS)

    def call(self, x):
        return tf.nn.relu(self.bn(self.conv(x), training=False))


class Block(layers.Layer):
    """Two convolutions with batch norm, added to their input."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = layers.Conv2D(channels, 3, padding="same")
        self.bn1 = layers.BatchNormalization(epsilon=BN_EPS)
        self.conv2 = layers.Conv2D(channels, 3, padding="same")
        self.bn2 = layers.BatchNormalization(epsilon=BN_EPS)

    def call(self, x):
        y = tf.nn.relu(self.bn1(self.conv1(x), training=False))
        return tf.nn.relu(x + self.bn2(self.conv2(y), training=False))


class FullAlignment(Heads):
    """(N, depth, 33, channels) hundredths to (N, 24) or (N, 90) probabilities."""

    def __init__(self, depth, channels=8, four=True):
        super().__init__()
        self.shape = (depth, 33, channels)
        for number, width in enumerate((64, 128, 256), 1):
            setattr(self, f"conv{2 * number - 1}", Down(width))
            setattr(self, f"res_block{number}", tf.keras.Sequential([Block(width)]))
        self.add_heads(256, four)

    def features(self, x):
        x = tf.cast(x, self.compute_dtype) / 100
        for number in (1, 2, 3):
            x = getattr(self, f"res_block{number}")(getattr(self, f"conv{2 * number - 1}")(x))
        return tf.concat([pool(x, bins) for bins in BINS], axis=1)


def pool(x, bins):
    """Maximum over bins x bins tiles; missing cells are split between both ends and never win."""
    size = [math.ceil(n / bins) for n in x.shape[1:3]]
    spare = [math.ceil(n / s) * s - n for n, s in zip(x.shape[1:3], size)]  # noqa: B905  also Python 3.9
    pads = [(0, 0), *((n // 2, n - n // 2) for n in spare), (0, 0)]
    x = tf.pad(x, pads, constant_values=x.dtype.min)
    return tf.reshape(tf.nn.max_pool2d(x, size, size, "VALID"), (-1, bins * bins * x.shape[3]))


def draw_inputs(model, rng):
    """Sixteen inputs as the caller of a network gives them."""
    if len(model.shape) == 2:
        return rng.integers(-60, 60, (16, *model.shape)).astype(np.int32)
    x = rng.integers(-100, 101, (16, *model.shape))
    x[:, model.shape[0] // 2 :] //= 4  # rows differ, so that a shifted grid shows
    return x.astype(np.int8)


def randomize(model, x, rng):
    """Weights of which every number matters, and answers to x that are far apart: else errors could hide."""
    model(x)  # makes the variables
    for variable in model.weights:
        if "kernel" in variable.name:
            variable.assign(rng.normal(0, 1 / math.sqrt(np.prod(variable.shape[:-1])), variable.shape))
        else:
            low = 0.5 if "gamma" in variable.name or "variance" in variable.name else -0.2
            variable.assign(rng.uniform(low, low + 0.5, variable.shape))
    hidden = centre(model.L4, model.features(x), 1)
    for branch, name in model.branches:
        centre(getattr(model, name), centre(getattr(model, branch), hidden, 1), 4)


def centre(layer, x, spread):
    """Make what goes into a dense layer's SELU vary that much around 0; its answer to x."""
    before = tf.matmul(x, layer.kernel) + layer.bias
    scale = spread / tf.math.reduce_std(before, axis=0)
    layer.kernel.assign(layer.kernel * scale)
    layer.bias.assign((layer.bias - tf.reduce_mean(before, axis=0)) * scale)
    return layer(x)
