"""Devices: the processor, or an available CUDA device."""

from __future__ import annotations

import torch

from medinr.errors import ConfigError


def open_device(name: str) -> torch.device:
    """Return the device of a name such as ``cpu``, ``cuda`` or ``cuda:1``.

    Raises
    ------
    ConfigError
        When there is no such device.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise ConfigError(f"Device {name!r} is not cpu, cuda or cuda:N.")
    if kind == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise ConfigError(
            f"Device {name} was asked for; PyTorch {torch.__version__} finds {count} CUDA devices here. "
            "Use --device cpu, or install a CUDA build of PyTorch."
        )
    return torch.device(name)


def wait_for(device: torch.device) -> None:
    """Wait until a device has finished its queued work, so that measured times include it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
