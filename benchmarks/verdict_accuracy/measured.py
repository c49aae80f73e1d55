"""What was measured, as arrays: training runs by epochs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from grid import BIASED_DONORS, SET_ASIDE_KINDS, SET_ASIDE_NETWORK
from results import EPOCHS, whole_rows

BY_PROBABILITY = "confidence_true"
TRUTHS = {"reliance_true": "by accuracy", BY_PROBABILITY: "by probability"}
_WORDS = ("run", "kind", "control", "network", "donors", "masks", "cause", "since", "text")
_ABSTAINS = "can't say"


@dataclass(frozen=True)
class Measured:
    """Evaluations of `n` training runs.

    Attributes:
        columns: `{name: (n, EPOCHS)}`, float64 or str, as in the CSV; and bool `abstains`.
        counted: bool `(n, EPOCHS)`: which evaluations count.
    """

    columns: dict[str, np.ndarray]
    counted: np.ndarray

    def __len__(self) -> int:
        return len(self.counted)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def run(self, name: str) -> np.ndarray:
        """A column that is the same at all epochs, `(n,)`."""
        return self.columns[name][:, 0]

    def where(self, chosen: np.ndarray) -> Measured:
        """Some of the training runs, by bool `(n,)`."""
        return Measured({k: v[chosen] for k, v in self.columns.items()}, self.counted[chosen])

    def truth(self, name: str) -> np.ndarray:
        """The size of the reliance: a nuisance may also be followed the other way round."""
        return np.abs(self.columns[name])

    @property
    def abstains(self) -> np.ndarray:
        """Where the verdict says itself that it can't say, bool `(n, EPOCHS)`."""
        return self["abstains"]

    @property
    def said(self) -> Measured:
        """The same, but only the evaluations in which the verdict does not abstain."""
        return replace(self, counted=self.counted & ~self.abstains)

    @property
    def plain(self) -> Measured:
        """The training runs that are no control."""
        return self.where(self.run("control") == "")

    def parts(self) -> dict[str, Measured]:
        """What rules may be tuned on, and what was set aside; together all training runs."""
        kind = np.isin(self.run("kind"), SET_ASIDE_KINDS)
        network = self.run("network") == SET_ASIDE_NETWORK
        return {
            "tuning part": self.where(~kind & ~network),
            "set-aside kinds": self.where(kind),
            "set-aside network": self.where(network & ~kind),
        }


def read(path: Path) -> tuple[Measured, Measured]:
    """Read the results.

    Args:
        path: Of the CSV.

    Returns:
        The training runs, and those with curated donors, measured besides in some of them.
    """
    rows, _ = whole_rows(path)
    rows.sort(key=lambda row: (row["donors"], row["run"], int(row["epoch"])))
    columns: dict[str, np.ndarray] = {}
    for name in rows[0]:
        found = np.array([row[name] for row in rows])
        shaped = found.reshape(-1, EPOCHS)
        columns[name] = shaped if name in _WORDS else shaped.astype(np.float64)
    columns["abstains"] = np.char.startswith(columns["text"], _ABSTAINS)
    # Where there is no verdict nothing was found.
    columns["reliance"] = np.nan_to_num(columns["reliance"], nan=0.0)
    everything = Measured(columns, np.ones(columns["run"].shape, bool))
    curated = everything.run("donors") == "curated"
    return everything.where(~curated), everything.where(curated)


def origin(measured: Measured) -> np.ndarray:
    """What is special about each training run, str `(n,)`: its control, or what was planted."""
    control, kind = measured.run("control"), measured.run("kind")
    planted = measured.run("correlation") > 0.5
    said = np.where(planted, "a shortcut planted", "nothing planted").astype("U40")
    said = np.where(control != "", control, said)
    biased = control == BIASED_DONORS
    return np.where(biased, np.char.add("biased donors: ", kind.astype("U40")), said)
