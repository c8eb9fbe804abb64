# SPDX-License-Identifier: LGPL-3.0-or-later
"""ASE calculators whose saddle points are known by formula or from the literature."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes


class _Analytic(Calculator):  # type: ignore[misc]
    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces"]

    def calculate(self, atoms=None, properties=None, system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        moments = self.atoms.get_initial_magnetic_moments()
        energy, forces = 0.0, np.zeros((len(self.atoms), 3))
        for k, (place, moment) in enumerate(
            zip(self.atoms.positions, moments, strict=True)
        ):
            energy, forces[k] = self.of(place, moment)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}

    def of(self, place, moment):
        raise NotImplementedError


class MuellerBrown(_Analytic):
    """Müller and Brown, Theor. Chim. Acta 53, 75 (1979), in units of 100 per eV."""

    factors = np.array([-200.0, -100.0, -170.0, 15.0])
    a = np.array([-1.0, -1.0, -6.5, 0.7])
    b = np.array([0.0, 0.0, 11.0, 0.6])
    c = np.array([-10.0, -10.0, -6.5, 0.7])
    x0 = np.array([1.0, 0.0, -0.5, -1.0])
    y0 = np.array([0.0, 0.5, 1.5, 1.0])

    def of(self, place, moment):
        x, y = place[0] - self.x0, place[1] - self.y0
        terms = (
            0.01 * self.factors * np.exp(self.a * x**2 + self.b * x * y + self.c * y**2)
        )
        slope_x = (terms * (2.0 * self.a * x + self.b * y)).sum()
        slope_y = (terms * (self.b * x + 2.0 * self.c * y)).sum()
        return terms.sum() + 0.5 * place[2] ** 2, -np.array(
            [slope_x, slope_y, place[2]]
        )


class DoubleWell(_Analytic):
    """V = h ((x/a)² - 1)² + k (y² + z²) / 2: barrier h, curvatures 8h/a² and -4h/a²."""

    height, half, stiffness = 0.4, 1.5, 3.0

    def of(self, place, moment):
        x = place[0] / self.half
        energy = self.height * (x**2 - 1.0) ** 2
        slope = 4.0 * self.height * x * (x**2 - 1.0) / self.half
        energy += 0.5 * self.stiffness * (place[1] ** 2 + place[2] ** 2)
        return energy, -np.array([slope, *(self.stiffness * place[1:])])


class TwoStates(_Analytic):
    """Two parabolas, as of R. A. Marcus, by the moment that the atom starts from.

    With the reorganisation energy L = k d² / 2 they cross (L + D)² / 4 L above the
    first one.
    """

    stiffness, way, step = 1.0, 2.0, 0.3

    def of(self, place, moment):
        is_second = moment < 3.5
        ways = place - np.array([self.way * is_second, 0.0, 0.0])
        energy = 0.5 * self.stiffness * (ways**2).sum() + self.step * is_second
        return energy, -self.stiffness * ways

    @classmethod
    def crossing(cls):
        size = 0.5 * cls.stiffness * cls.way**2
        return (size + cls.step) ** 2 / (4.0 * size)
