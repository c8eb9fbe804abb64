# SPDX-License-Identifier: LGPL-3.0-or-later
"""Fast forms of shipped models, made once on each machine and kept.

``~/.cache/spin-dp`` (``XDG_CACHE_HOME``), or the folder that ``SPIN_DP_CACHE`` names;
``SPIN_DP_CACHE=off`` leaves the disk alone, and models run as they ship.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import platform
import subprocess
import sys
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from spin_dp.deployment.compile import compile_model
from spin_dp.deployment.compress import compress
from spin_dp.errors import BackendError, ConfigError
from spin_dp.files import write_text
from spin_dp.pretrained import as_list, is_shipped, resolve
from spin_dp.threads import cores, process_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spin_dp.pretrained import ModelName

__all__ = ["VARIABLE", "cache_folder", "fast_models"]

log = logging.getLogger(__name__)

VARIABLE = "SPIN_DP_CACHE"
_OFF = ("", "0", "no", "off")
_CPUINFO = Path("/proc/cpuinfo")


def cache_folder() -> Path | None:
    """Return where fast forms are kept; None where none shall be."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return None if chosen.lower() in _OFF else Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "spin-dp"


def fast_models(
    models: ModelName | Iterable[ModelName], most: int | None = None
) -> list[Path]:
    """Return the files of models for MD: of shipped ones those that are fast here.

    A shipped model is compiled when it is first asked for, half a minute each and as
    many at a time as there are cores, or compressed where there is no C++ compiler.
    Processes that ask at the same time wait for the one that does it. Where nothing can
    be kept it is taken as it ships.

    Parameters
    ----------
    models
        Files, which are returned as they are, or names of shipped models; one or
        several.
    most
        How many of the models of each name at most, the first ones; all if None.

    Returns
    -------
    list of Path
        One for each file, and those of each name.

    Raises
    ------
    DataError
        If a word is neither a file nor a name.
    """
    files: list[Path] = []
    for model in as_list(models):
        members = resolve(model)
        files += _fast_forms(members[:most]) if is_shipped(model) else members
    return files


def _fast_forms(frozen: Sequence[Path]) -> list[Path]:
    folder = cache_folder()
    if folder is None:
        log.info("%s=off: models run as they ship, some twenty times slower", VARIABLE)
        return list(frozen)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with others_at_work(frozen, folder):
            return [_fast_form(model, folder) for model in frozen]
    except OSError as error:
        log.warning(
            "%s: cannot be written (%s), so that models run as they ship, some twenty "
            "times slower; name another folder by %s",
            *(error.filename or folder, error.strerror, VARIABLE),
        )
        return list(frozen)


@contextmanager
def others_at_work(models: Sequence[Path], folder: Path) -> Iterator[None]:
    """Have other processes, one for each other core, make their share of fast forms.

    A process that ends without one leaves that, and what there is to say, to the
    caller, who asks for all of them in the block, one after the other.
    """
    missing = [model for model in models if not _compiled(model, folder).is_file()]
    workers = min(cores(), len(missing))
    code = f"import sys; from {__name__} import make_fast as make; make(*sys.argv[1:])"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, folder, *missing[worker::workers]],
            env=process_environment(1),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for worker in range(1, workers)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()  # has ended, unless the caller was interrupted
            process.wait()


def make_fast(folder: str, *models: str) -> None:
    """Make the fast forms of models, in a process of its own."""
    for model in models:
        _fast_form(Path(model), Path(folder))


def _compiled(model: Path, folder: Path) -> Path:
    return folder / f"{model.stem}-{_key(model)}.pt2"


def _fast_form(model: Path, folder: Path) -> Path:
    compiled = _compiled(model, folder)
    compressed = compiled.with_suffix(".compressed.pth")
    failed = compiled.with_suffix(".failed")
    if compiled.is_file():
        return compiled
    with _locked(folder / f".{compiled.stem}.lock"):
        if compiled.is_file():
            return compiled
        if not failed.is_file():
            log.info(
                "compiling %s for this processor, once, half a minute; kept in %s",
                *(model.stem, folder),
            )
            try:
                return compile_model(model, compiled)
            except ConfigError as error:  # no compiler
                log.info("not compiled: %s", str(error).splitlines()[0])
            except BackendError as error:  # tried once, not for a minute in each run
                write_text(failed, f"{error}\n")
        if failed.is_file():
            log.info("compressed only, as compiling failed: see %s", failed)
        return compressed if compressed.is_file() else compress(model, compressed)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process is in the block; a killed one is in none."""
    with path.open("w") as stream:
        with suppress(OSError):  # file systems without locks: files appear at once
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _key(model: Path) -> str:
    """Return what a fast form depends on: weights, programs, processor, device."""
    import torch

    parts = [
        hashlib.sha256(model.read_bytes()).hexdigest(),
        *(version(name) for name in ("spin-dp", "deepmd-kit", "torch")),
        _sources(),
        _processor(),
        torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _sources() -> str:
    """Return a hash of what fast forms are written by, which changes between versions.

    In a clone the version says too little.
    """
    here = Path(__file__).parent
    folders = (here, here.parent / "model", here.parent / "descriptors")
    digest = hashlib.sha256()
    for folder in folders:
        for file in sorted([*folder.rglob("*.py"), *folder.rglob("*.h")]):
            digest.update(file.read_bytes())
    return digest.hexdigest()


@cache
def _processor() -> str:
    """Return the name and the instruction sets of the processor."""
    wanted = ("model name", "flags", "Features")
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    first = lines[: lines.index("")] if "" in lines else lines
    return "\n".join(line for line in first if line.startswith(wanted))
