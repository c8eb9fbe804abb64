# SPDX-License-Identifier: LGPL-3.0-or-later
"""The loss ``spin_dp``: that of a spin model, and that of predicted moments.

Energy, force, magnetic force and virial count as in deepmd-kit's ``ener_spin``. Where
the data have ``initial_spin`` and the model a moment net, moments predicted from them
are compared with the converged ones, those that the model reads as ``spin``.

``initial_spin`` is what labels stand for: the mean moment of each site's spin state,
none on elements without states. In a share of the steps the model reads that instead of
the converged moments, with the same energies and forces to learn. It then has two
energies: E(x, m) of the moments m, and E(x, label), the energy that DFT relaxes the
moments to in this state and geometry. Forces of both are exact derivatives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from deepmd.pt.loss.ener_spin import EnergySpinLoss
from deepmd.pt.loss.loss import TaskLoss
from deepmd.utils.data import DataRequirementItem

from spin_dp.errors import ConfigError

if TYPE_CHECKING:
    from spin_dp.model.energy import SpinEnergyModel

_INITIAL = "initial_spin"


@TaskLoss.register("spin_dp")
class SpinLoss(EnergySpinLoss):  # type: ignore[misc]
    """Loss of energy, its derivatives and predicted moments.

    Parameters
    ----------
    starter_learning_rate
        The learning rate at which prefactors have their start values.
    start_pref_m, limit_pref_m
        Prefactors of the mean squared error of predicted moments, 1/μB².
    label_share
        Share of the training steps in which the model reads labels, 0 to 1. Magnetic
        forces do not count in them: they belong to the converged moments.
    **prefactors
        Those of ``ener_spin``.

    Raises
    ------
    ConfigError
        If the share is none.
    """

    def __init__(
        self,
        starter_learning_rate: float = 1.0,
        start_pref_m: float = 0.0,
        limit_pref_m: float = 0.0,
        label_share: float = 0.0,
        **prefactors: Any,
    ) -> None:
        super().__init__(starter_learning_rate, **prefactors)
        self.start_pref_m = start_pref_m
        self.limit_pref_m = limit_pref_m
        self.has_m = start_pref_m > 0.0 or limit_pref_m > 0.0
        if not 0.0 <= label_share <= 1.0:
            raise ConfigError(
                f"loss spin_dp: expected a label_share from 0 to 1, got {label_share}."
            )
        self.label_share = label_share

    @classmethod
    def get_loss(cls, loss_params: dict[str, Any]) -> SpinLoss:
        """Build the loss from its section of ``input.json``; the host's way in."""
        params = dict(loss_params)
        params.pop("type", None)
        return cls(**params)

    def forward(
        self,
        input_dict: dict[str, torch.Tensor],
        model: SpinEnergyModel,
        label: dict[str, torch.Tensor],
        natoms: int,
        learning_rate: float,
        mae: bool = False,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor, dict[str, torch.Tensor]]:
        """Return predictions, loss and the errors to be shown.

        Parameters
        ----------
        input_dict
            Inputs of the model.
        model
            The model.
        label
            Labels of the batch.
        natoms
            Number of atoms of a frame.
        learning_rate
            Present learning rate.
        mae
            Whether to show mean absolute errors as well.

        Returns
        -------
        tuple
            What the model predicts, the loss, and errors by name; ``rmse_m`` is that
            of a component of the predicted moments over magnetic atoms, μB.

        Raises
        ------
        ConfigError
            If moments count but the model does not predict them.
        """
        found = label.get(f"find_{_INITIAL}", 0.0)
        converged = input_dict["spin"]
        if self._reads_labels(model, found):
            input_dict = {**input_dict, "spin": label[_INITIAL]}
            label = {**label, "find_force_mag": torch.tensor(0.0)}
        if self.has_m:
            if getattr(model, "moment_net", None) is None:
                raise ConfigError(
                    "loss spin_dp: start_pref_m or limit_pref_m is given, but the "
                    "model predicts no moments; add "
                    '"moment_net": {} to the model section.'
                )
            input_dict = {**input_dict, "guess": label[_INITIAL]}
        predicted, loss, shown = super().forward(
            input_dict, model, label, natoms, learning_rate, mae
        )
        if not self.has_m:
            return predicted, loss, shown
        counts = predicted["mask_mag"].to(loss.dtype)  # (nf, nloc, 1)
        moments = predicted["moments"]
        wanted = converged.view(moments.shape)
        square = ((moments - wanted).square() * counts).sum()
        mean = square / (3.0 * counts.sum()).clamp(min=1.0)
        share = learning_rate / self.starter_learning_rate
        weight = self.limit_pref_m + (self.start_pref_m - self.limit_pref_m) * share
        shown["rmse_m"] = self.display_if_exist(mean.detach().sqrt(), found)
        return predicted, loss + weight * found * mean, shown

    def _reads_labels(self, model: SpinEnergyModel, found: object) -> bool:
        """Return whether this step is one with labels; tests are with moments."""
        if not (self.label_share and found and model.training):
            return False
        return bool(torch.rand(()) < self.label_share)

    @property
    def label_requirement(self) -> list[DataRequirementItem]:
        """Return the labels that the host reads."""
        wanted: list[DataRequirementItem] = list(super().label_requirement)
        if self.has_m or self.label_share:
            wanted.append(
                DataRequirementItem(
                    _INITIAL, ndof=3, atomic=True, must=False, high_prec=False
                )
            )
        return wanted
