# SPDX-License-Identifier: LGPL-3.0-or-later
"""What can be asked of hops, as ``spin-dp run barrier`` and the network take it."""

from __future__ import annotations

from dataclasses import dataclass

from spin_dp.errors import ConfigError, unknown
from spin_dp.properties.migration.band import BandSettings
from spin_dp.properties.migration.ends import WIDTH
from spin_dp.properties.migration.holes import ELECTRONS
from spin_dp.properties.migration.hops import REACH, VACANCIES
from spin_dp.properties.migration.rates import ATTEMPT_FREQUENCY
from spin_dp.properties.settings import option

_RELAX = ("no", "atoms", "cell")


@dataclass(frozen=True, kw_only=True)
class HopSettings:
    """Which hops there are, and how their paths are searched.

    Attributes
    ----------
    ion, vacancies, reach, electron, holes, width, relax, images, max_force, max_steps
        See :func:`spin_dp.properties.settings.described`.
    """

    ion: str = option("Li", "element that hops")
    vacancies: str = option(
        "auto",
        "empty sites: present (of the structure), one or two (made for each hop); "
        "auto: present where there are any, else one",
    )
    reach: float = option(REACH, "largest distance of two sites, Å")
    electron: str = option(
        "staying",
        "staying: one spin state along the path; following: that of each end, the hole "
        "goes along; lowest: the lowest of several at each image",
    )
    holes: str = option(
        "auto",
        "state that a metal changes to for each ion taken out, Ni=4+LS; auto: the "
        "usual one with one more charge",
    )
    width: float = option(WIDTH, "the cell is repeated until its faces are so far, Å")
    relax: str = option("no", "of the structure before: no, atoms or cell")
    images: int = option(BandSettings.images, "between the ends")
    max_force: float = option(BandSettings.max_force, "of the band at the end, eV/Å")
    max_steps: int = option(BandSettings.max_steps, "of the band, at most")

    def __post_init__(self) -> None:
        for name, known in (
            ("vacancies", ("auto", *VACANCIES)),
            ("electron", ELECTRONS),
            ("relax", _RELAX),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known)
        _ = self.band("adiabatic"), self.hole_states

    def band(self, label_mode: str) -> BandSettings:
        """Return how a band is searched; DFT has no time for what a model checks."""
        return BandSettings(
            images=self.images,
            max_force=self.max_force,
            max_steps=self.max_steps,
            check_top=label_mode != "free",
        )

    @property
    def hole_states(self) -> dict[str, str] | None:
        """State that each element changes to; None: the usual one."""
        if self.holes == "auto":
            return None
        found: dict[str, str] = {}
        for word in self.holes.replace(",", " ").split():
            element, equals, state = word.partition("=")
            if not (element and equals and state):
                raise ConfigError(f"holes: expected Ni=4+LS, got {self.holes!r}.")
            found[element] = state
        if not found:
            raise ConfigError("holes: expected Ni=4+LS, got nothing.")
        return found


@dataclass(frozen=True, kw_only=True)
class BarrierSettings(HopSettings):
    """Which hop, beside what :class:`HopSettings` says.

    Attributes
    ----------
    hop, final
        See :func:`spin_dp.properties.settings.described`.
    """

    hop: int = option(0, "which of the distinct hops, short ones first")
    final: str = option(
        "",
        "file of the structure after the hop; the structure is that before",
        is_file=True,
    )


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(HopSettings):
    """At which temperatures, beside what :class:`HopSettings` says.

    Attributes
    ----------
    temperatures, frequency
        See :func:`spin_dp.properties.settings.described`.
    """

    temperatures: tuple[float, ...] = option((300.0,), "of rates, K")
    frequency: str = option(
        f"{ATTEMPT_FREQUENCY:g}",
        "attempt frequency, Hz; harmonic: of the modes around each ion",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperatures or min(self.temperatures) <= 0.0:
            raise ConfigError(
                f"temperatures: expected some above 0 K, got {self.temperatures}."
            )
        _ = self.attempts

    @property
    def attempts(self) -> float | None:
        """Attempt frequency, Hz; None where it is that of the modes."""
        if self.frequency == "harmonic":
            return None
        try:
            number = float(self.frequency)
        except ValueError:
            number = 0.0
        if not 0.0 < number < float("inf"):
            raise ConfigError(
                f"frequency: expected Hz, or harmonic, got {self.frequency!r}."
            )
        return number
