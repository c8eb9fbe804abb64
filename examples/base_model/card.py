# SPDX-License-Identifier: LGPL-3.0-or-later
"""The card of a base model, written from its record and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.stability.results import LEGEND

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_ERRORS = ("energy", "force", "gap")
_HEADS = ("frames", "energy, meV/atom", "force, meV/Å", "gap, meV per cell")


def render(record: Mapping[str, Any]) -> str:
    """Return the card, Markdown.

    Parameters
    ----------
    record
        What :func:`examples.base_model.record.make_record` gives.
    """
    parts = (_head, _use, _data, _level, _states, _errors, _spread, _stability, _made)
    return "\n\n".join(part(record).strip() for part in parts) + "\n"


def _head(record: Mapping[str, Any]) -> str:
    data, errors = record["data"], record["errors"]["all"]
    metals = [e for e in record["spin_elements"] if e != "O"]
    return f"""
# {record["name"]}

{len(record["models"])} spin-aware Deep Potentials of layered lithium oxides of \
{_and(metals)} and their relatives, alike but for their seeds. The first one answers; \
the spread of all says how far it can be trusted. Trained on \
{data["frames"] - data["held_out_frames"]} DFT frames; \
{data["held_out_frames"]} frames at {data["held_out_geometries"]} of \
{data["geometries"]} geometries are held out. The frames have \
{len(data["families"])} compositions and structures, and a composition up to \
{max(family["states"] for family in data["families"])} spin states. On the held-out \
geometries: {_number(errors["energy"], 1)} meV/atom, \
{_number(errors["force"], 0)} meV/Å, \
{_number(errors["gap"], 0)} meV per cell for the energy difference of two spin states.

```sh
spin-dp md structure.cif -m {record["name"]} --labels "Ni=3+LS"
spin-dp states structure.cif -m {record["name"]}
spin-dp init tuned --data data --like {record["name"]}
```
"""


def _use(record: Mapping[str, Any]) -> str:
    elements = ", ".join(record["type_map"])
    return f"""
## Where it must not be used

- Other elements than {elements}; surfaces, molecules, isolated atoms, oxygen gas: all \
frames are bulk oxides.
- Spin states that are not in the table below, and non-collinear moments: all frames \
are collinear. No spin-orbit coupling.
- Distances below {record["shortest_distance"]:g} Å, the shortest in the data; large \
strain; temperatures far above those of the table by temperature.
- What dispersion does, which the functional lacks: layers without lithium are hardly \
held together, and how far apart they come to rest is no number to quote.
- Absolute energies beside those of another level of theory. Voltages and formation \
energies need references at this level.
- Numbers for a publication without looking at the spread of the ensemble, and without \
DFT on some of the frames visited: fine-tune it to your own level.
"""


def _data(record: Mapping[str, Any]) -> str:
    rows = []
    for family in record["data"]["families"]:
        hottest = family["hottest"]
        rows.append(
            [
                family["family"],
                *(str(family[key]) for key in ("frames", "geometries", "states")),
                str(family["held_out_frames"]),
                "" if hottest is None else f"{hottest:g}",
            ]
        )
    heads = ["composition", "frames", "geometries", "spin states", "held-out frames"]
    return f"""
## Data

Frames of `examples` in the repository, PAW with free or held moments; geometries are \
rattled, strained or displaced by hand, frames of MD of another potential (CHGNet) or \
of an earlier model of this kind, and spin states that one relaxed. \
{record["data"]["unconverged"]} further runs did not converge and are not used.

{_table([*heads, "MD up to, K"], rows)}
"""


def _level(record: Mapping[str, Any]) -> str:
    lines = [f"- {text or name}" for name, text in record["data"]["levels"].items()]
    return "## Level of theory\n\n" + "\n".join(lines)


def _states(record: Mapping[str, Any]) -> str:
    rows = [
        [
            state["name"],
            f"{state['moment']:.2f}",
            f"{state['lowest']:.2f} to {state['highest']:.2f}",
            str(state["sites"]),
        ]
        for state in record["states"]
    ]
    heads = ["state", "mean moment, μB", "range, μB", "sites"]
    return f"""
## Spin states that it knows

Names and mean local moments at this level of theory; `NM` are solutions without any \
moment, `~` stands before a moment that no ion explains.

{_table(heads, rows)}
"""


def _errors(record: Mapping[str, Any]) -> str:
    errors = record["errors"]
    moments = errors["with_moments"]
    kinds = _error_table("geometries", errors["kind"], lambda row: row["kind"])
    hot = _error_table(
        "MD at, K", errors["temperature"], lambda row: f"{row['temperature']:g}"
    )
    families = _error_table("composition", errors["family"], lambda r: r["family"])
    states = _error_table(
        "composition, spin state",
        errors["state"],
        lambda row: f"{row['formula']} {row['state']}",
    )
    members = _error_table(
        "model, seed, runs of hard MD that hold",
        record["models"],
        lambda row: f"{row['file']}, {row['seed']}, {row['held']} of {row['runs']}",
    )
    return f"""
## Errors on held-out geometries

RMS, of the first model. It read labels, the mean moment of each site's spin state, \
as it does in MD and for states by name. With the moments of DFT, which nobody has \
before: {_number(moments["energy"], 1)} meV/atom, {_number(moments["force"], 0)} \
meV/Å, {_number(moments["gap"], 0)} meV per cell. The gap is the energy difference of \
two spin states of one geometry; {_share(errors["all"])}. Few frames make few-digit \
numbers.

{kinds}

{hot}

{families}

{states}

The models of the ensemble, on all held-out frames:

{members}
"""


def _share(scores: Mapping[str, Any]) -> str:
    if scores["order"] is None:
        return "no pair of states is far enough apart to have an order"
    return (
        f"{100 * scores['order']:.0f} % of {scores['ordered_pairs']} pairs more than "
        "20 meV apart are in the right order"
    )


def _spread(record: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{row['quantity'].replace('_', ' ')}, {row['unit']}",
            _number(row["deviation"], 2 if row["unit"].startswith("eV") else 1),
            _number(row["error"], 2 if row["unit"].startswith("eV") else 1),
            _number(row["spearman"], 2),
            _percent(row["coverage_68"]),
            _percent(row["coverage_95"]),
        ]
        for row in record["calibration"]
    ]
    heads = ["quantity", "spread", "error", "rank correlation"]
    return f"""
## What the spread of the models tells

Root mean squares on the held-out frames, the rank correlation of spread and error, \
and the share of errors in the calibrated intervals of 68 and 95 %, each with factors \
found on the other geometries. `calibration.json` has the factors; Python uses them \
by itself.

{_table([*heads, "in 68 %", "in 95 %"], rows)}
"""


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _stability(record: Mapping[str, Any]) -> str:
    rows: Sequence[Mapping[str, Any]] = record["stability"]
    if not rows:
        return "## Stability of MD\n\nNot measured yet: watch the ensemble."
    heads = list(rows[0])
    table = _table(heads, [[str(row[head]) for head in heads] for row in rows])
    return f"""
## Stability of MD

The first model, states by name, about 200 atoms, stock LAMMPS, volume fixed. {LEGEND} \
What fell apart is said, and when.

{table}
"""


def _made(record: Mapping[str, Any]) -> str:
    made = record["made"]
    seeds = ", ".join(str(seed) for seed in made["seeds"])
    first = record["models"][0]
    return f"""
## How it was made

`{made["command"]}` with spin-dp {made["spin-dp"]}: nets of size {made["size"]}, \
{made["steps"]} steps, loss prefactors of forces {_ends(made["force"])} and virials \
{_ends(made["virial"])}, seeds {seeds}. That of seed {first["seed"]} answers: \
{first["held"]} of {first["runs"]} runs of MD hold with it, of the crystals of the \
table above for 5 ps at 1500 K and from a start compressed by 15 %, and of the models \
with which as many hold it errs least in forces of held-out frames of MD, so that \
these flatter it a little. SHA-256 of the frames: \
`{record["data"]["sha256"]}`; of each file, and of the models: `record.json`.

## Licence

Weights and data: [{record["licence"]}]\
(https://creativecommons.org/licenses/by/4.0/), the spin-dp developers.
"""


def _error_table(
    head: str,
    rows: Sequence[Mapping[str, Any]],
    name: Callable[[Mapping[str, Any]], str],
) -> str:
    cells = [
        [
            name(row),
            str(row["frames"]),
            *(
                _number(row[key], digits)
                for key, digits in zip(_ERRORS, (1, 0, 0), strict=True)
            ),
        ]
        for row in rows
    ]
    return _table([head, *_HEADS], cells)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _ends(prefactor: Sequence[float]) -> str:
    return " to ".join(f"{end:g}" for end in prefactor)


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)
