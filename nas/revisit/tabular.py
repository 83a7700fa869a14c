"""A tabular benchmark: networks of a space with their learning curves, in one file, to replay searches on.

The idea is NAS-Bench-101's (Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019):
what was trained once need not be trained again to compare samplers, rules that stop trials, and lengths of training.
"""

import lzma
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from srnas.leaderboard.record.base import StoredArchitecture
from srnas.leaderboard.record.trials import Rung
from srnas.nas.files import write_whole
from srnas.nas.revisit.recording import Recorded, Recording, load_space
from srnas.nas.training.schedule import TrainingConfig
from srnas.search_space import Architecture, InputError, SearchSpace

_FORMAT: Final = 2


class Curve(BaseModel):
    """One training of a network.

    Attributes:
        seed: Seed of weights and patches.
        psnr_y_db: PSNR-Y of each held-out photograph in dB, by the step after which it was judged.
        train_s: Seconds spent in all steps up to there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    psnr_y_db: dict[int, tuple[float, ...]]
    train_s: dict[int, float]

    def mean_db(self, steps: int) -> float:
        """Return the mean PSNR-Y over the photographs in dB."""
        return statistics.fmean(self.psnr_y_db[steps])


class TabulatedNetwork(BaseModel):
    """A network with all that is known of it.

    Attributes:
        architecture: The network.
        sources: What drew it, each counted from 0: ``uniform 17``, ``search 3.12`` (trial 12 of search 3),
            ``design EDSR-like``.
        fastest_ms: The fastest round of all timings in milliseconds, by runtime.
        curves: Its trainings, one for each seed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: StoredArchitecture
    sources: tuple[str, ...] = ()
    fastest_ms: dict[str, float] = {}
    curves: tuple[Curve, ...] = ()

    def joined(self, other: Self) -> Self:
        """Return the network with what another entry of it knows.

        Of two latencies the lower counts, since other work only slows; of two trainings of a seed that of the other.
        """
        curves = {curve.seed: curve for curve in self.curves}
        for curve in other.curves:
            known = curves.get(curve.seed, curve)
            curves[curve.seed] = Curve(
                seed=curve.seed,
                psnr_y_db=dict(sorted((known.psnr_y_db | curve.psnr_y_db).items())),
                train_s=dict(sorted((known.train_s | curve.train_s).items())),
            )
        return self.model_copy(
            update={
                "sources": tuple(dict.fromkeys(self.sources + other.sources)),
                "fastest_ms": {
                    runtime: min(known[runtime] for known in (self.fastest_ms, other.fastest_ms) if runtime in known)
                    for runtime in self.fastest_ms | other.fastest_ms
                },
                "curves": tuple(curves[seed] for seed in sorted(curves)),
            }
        )

    def curve(self, steps: int, seed: int = 0) -> Curve | None:
        """Return the training of a seed, if it has come as far as ``steps``."""
        return next((one for one in self.curves if one.seed == seed and steps in one.psnr_y_db), None)

    @property
    def design(self) -> str:
        """Name of the human design, if it is one."""
        return next((name for kind, _, name in (s.partition(" ") for s in self.sources) if kind == "design"), "")


class TableHead(BaseModel):
    """What all networks of a table share.

    Attributes:
        format: Number of the file's format.
        space: Name of the space.
        scale: Upscaling factor.
        space_digest: Digest of the space's content, which must be that of now.
        training: Schedule of the base length, of the first seed; its rungs are those at which networks were judged.
        train: The photographs to train on, as a study names them.
        validation: The held-out photographs, as a study names them.
        photographs: Names of the held-out photographs, in the order of ``psnr_y_db``.
        bicubic_psnr_y_db: PSNR-Y of bicubic upscaling on each of them, in dB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = _FORMAT
    space: str
    scale: int
    space_digest: str
    training: TrainingConfig
    train: str
    validation: str
    photographs: tuple[str, ...]
    bicubic_psnr_y_db: tuple[float, ...]

    @property
    def iterations(self) -> int:
        """Steps of the base length."""
        return self.training.iterations

    @property
    def rungs(self) -> tuple[int, ...]:
        """Steps on the way to the base length after which networks were judged, that length included."""
        return self.training.rung_iterations


@dataclass(frozen=True)
class TabularBenchmark:
    """A table of trained networks.

    Attributes:
        head: What they share.
        networks: By key.
    """

    head: TableHead
    networks: dict[str, TabulatedNetwork]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a table.

        Raises:
            InputError: If it cannot be read, or is no table.
        """
        try:
            head, *lines = lzma.decompress(path.read_bytes()).decode().splitlines()
            return cls(
                TableHead.model_validate_json(head),
                joined(TabulatedNetwork.model_validate_json(line) for line in lines),
            )
        except OSError as error:
            raise InputError(f"the table must be readable, but '{path}' is not: {error.strerror}.") from None
        except (lzma.LZMAError, ValidationError, ValueError) as error:
            raise InputError(
                f"a table must be JSON lines of format {_FORMAT}, compressed by xz, but '{path}' is not: "
                f"{str(error).splitlines()[0]}."
            ) from None

    def save(self, path: Path) -> None:
        """Write the table, whole or not at all; PSNR is rounded to 0.001 dB.

        Raises:
            InputError: If it cannot be written.
        """
        lines = [self.head.model_dump_json(), *(_rounded(one).model_dump_json() for one in self.networks.values())]
        write_whole(
            path, lzma.compress("".join(f"{line}\n" for line in lines).encode(), preset=9 | lzma.PRESET_EXTREME)
        )

    def recording(self, runtime: str = "eager", space: str | None = None) -> Recording:
        """Return what searches are replayed on: the networks that were timed, and judged at every rung of a search.

        Args:
            runtime: Whose latencies count.
            space: Path of the space's file, where it is not a shipped one.

        Raises:
            InputError: If the space has changed, or fewer than two networks can be replayed.
        """
        head = self.head
        search_space = load_space("the table", head.space, head.scale, head.space_digest, space)
        trials = [one for network in self.networks.values() if (one := self._recorded(network, search_space, runtime))]
        if len(trials) < 2:
            raise InputError(
                f"a table must hold two or more networks that are timed in '{runtime}' and trained for "
                f"{head.iterations} steps with all rungs, but holds {len(trials)}."
            )
        reference = statistics.fmean(head.bicubic_psnr_y_db), max(trial.fastest_ms for trial in trials)
        return Recording(f"the table of '{head.space}'", reference, search_space, trials, len(self.networks))

    def _recorded(self, network: TabulatedNetwork, space: SearchSpace, runtime: str) -> Recorded | None:
        # A search judges where its schedule says, which is less often than the table was.
        shares = TrainingConfig.model_fields["rungs"].get_default()
        rungs = [round(share * self.head.iterations) for share in shares]
        curve = network.curve(self.head.iterations)
        if curve is None or runtime not in network.fastest_ms or not curve.psnr_y_db.keys() >= set(rungs):
            return None
        return Recorded(
            network.architecture,
            space.params(network.architecture),
            network.design,
            network.fastest_ms[runtime],
            curve.mean_db(self.head.iterations),
            tuple(Rung(iteration=steps, psnr_y_db=curve.mean_db(steps)) for steps in rungs),
            curve.train_s[self.head.iterations],
        )


def joined(entries: Iterable[TabulatedNetwork]) -> dict[str, TabulatedNetwork]:
    """Return networks by key, each with what all its entries know."""
    networks: dict[str, TabulatedNetwork] = {}
    for entry in entries:
        key = entry.architecture.key
        networks[key] = networks[key].joined(entry) if key in networks else entry
    return networks


def is_attentive(architecture: Architecture) -> bool:
    """Return whether most positions hold an attention block."""
    blocks = [position.attention.name != "none" for position in architecture.positions]
    return sum(blocks) > len(blocks) / 2


def _rounded(network: TabulatedNetwork) -> TabulatedNetwork:
    curves = tuple(
        Curve(
            seed=curve.seed,
            psnr_y_db={steps: tuple(round(one, 3) for one in of) for steps, of in curve.psnr_y_db.items()},
            train_s={steps: round(seconds, 1) for steps, seconds in curve.train_s.items()},
        )
        for curve in network.curves
    )
    fastest_ms = {runtime: round(ms, 4) for runtime, ms in network.fastest_ms.items()}
    return network.model_copy(update={"curves": curves, "fastest_ms": fastest_ms})
