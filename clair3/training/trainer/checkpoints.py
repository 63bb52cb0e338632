"""The files that a training run goes on from: a checkpoint of each epoch, the best one, and the state for --resume."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from clair3.errors import InputError
from clair3.inference.checkpoint import load_content, save_model, write_checkpoints

BEST = "best_val_loss.pt"


def epoch_path(prefix: Path, epoch: int) -> Path:
    """Return the path of the checkpoint of an epoch, counted from 1: PREFIX.01.pt."""
    return prefix.with_name(f"{prefix.name}.{epoch:02d}.pt")


def state_path(prefix: Path) -> Path:
    """Return the path of the state that --resume reads: PREFIX.state.pt."""
    return prefix.with_name(f"{prefix.name}.state.pt")


def save_epoch(prefix: Path, epoch: int, network: nn.Module, state: Mapping[str, Any], best: bool, keep: int) -> None:
    """Save the weights and the state at the end of an epoch; then remove the checkpoints that are older than the last
    `keep` (0: none).

    The weights come first and the state last, each whole or not at all: an interrupted run goes on from the last state,
    whose weights are in the state itself. Raises InputError when the disk refuses; earlier files are untouched.
    """
    save_model(network, epoch_path(prefix, epoch))
    if best:
        save_model(network, prefix.with_name(BEST))
    write_checkpoints({state_path(prefix): {"network": network.state_dict(), "epoch": epoch, **state}})
    for old in range(1, epoch - keep + 1) if keep else ():
        epoch_path(prefix, old).unlink(missing_ok=True)


def refuse_another_run(prefix: Path, resumed: bool) -> None:
    """Raises InputError when the folder holds another training run, whose best network and logs would be overwritten;
    also one of this prefix, unless it is resumed."""
    for path in (*sorted(prefix.parent.glob("*.state.pt")), *prefix.parent.glob(BEST)):
        if resumed and path in (state_path(prefix), prefix.with_name(BEST)):
            continue
        again = "go on with it by --resume, or " if path == state_path(prefix) else ""
        raise InputError(f"{path}: of a training run in this folder; {again}give --ochk_prefix in another folder")


def remove_leavings(prefix: Path) -> None:
    """Remove what a run of this prefix left that ended before its first state: checkpoints and TensorBoard events."""
    for path in prefix.parent.iterdir():
        middle = path.name.removeprefix(f"{prefix.name}.").removesuffix(".pt")
        if path.name == f"{prefix.name}.{middle}.pt" and middle.isdecimal():
            path.unlink()
    for path in (prefix.parent / "tensorboard").glob("*/events.out.tfevents.*"):
        path.unlink()


def read_state(prefix: Path, made_with: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the state that save_epoch left, on the CPU; None when there is none.

    made_with: options that must be the same for the run to go on. Raises InputError when one differs, or the file is
    damaged.
    """
    path = state_path(prefix)
    if not path.is_file():
        return None
    state = load_content(path)
    if not isinstance(state, dict) or "epoch" not in state:
        raise InputError(f"{path}: not the state of a training run; leave --resume out")
    recipe = state.get("made_with", {})
    finished = state["epoch"] >= (recipe.get("epochs") or 0) * (recipe.get("mini_epochs") or 1)
    for name, value in made_with.items():
        before = recipe.get(name)
        if name == "epochs" and finished and before and value > before:
            continue  # a finished run may be prolonged
        if before != value:
            if isinstance(value, dict):
                before, value = (", ".join(f"{k} {v[:8]}" for k, v in (one or {}).items()) for one in (before, value))
            raise InputError(f"{path}: made with {name}={before}, now {value}; give the same or leave --resume out")
    return state


def read_commit() -> str | None:
    """Read the commit of the checkout that this program runs from; None outside of one."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    try:
        head = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return head.stdout.strip() or None
