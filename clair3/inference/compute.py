"""The devices of a run, looked up and taken into use, without loading torch where the CPU computes."""

import importlib

from clair3.config import CPU, Compute
from clair3.util.process import uninterrupted


def take_devices(compute: Compute) -> Compute:
    """Return the choice with its devices looked up, after taking these into use (docs/devices.md).

    Raises ConfigError, naming the devices of this machine, when one is not there, and DeviceError when one cannot be
    used.
    """
    if compute.device == CPU:
        return compute  # torch takes a second to load
    with uninterrupted():
        devices = importlib.import_module("clair3.inference.devices")
    compute = devices.resolve(compute)
    devices.take_gpus(compute)
    return compute
