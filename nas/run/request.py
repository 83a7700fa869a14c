"""The options of a search. Nothing heavy is imported here, so that ``srnas --help`` answers at once."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from srnas.nas.study.options import Budgets, StudyOptions, option

ENGINES = ("local", "ray")
DEFAULT_WORKSPACE = Path("srnas-runs")
AUTO = "auto"


def parse_size(text: str, name: str) -> tuple[int, int]:
    """Return height and width of ``WxH``, as sizes of pictures are written.

    Raises:
        InputError: If the text is not two positive integers.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if match is None:
        from srnas.search_space import InputError

        raise InputError(
            f"{name} must be WIDTHxHEIGHT in pixels, such as 320x180, each at most 99999, but got '{text}'."
        )
    return int(match[2]), int(match[1])


def _size(value: Any) -> Any:
    return parse_size(value, "--latency-input") if isinstance(value, str) else value


def _workers(value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if number != AUTO and (type(number) is not int or number < 1):
        from srnas.search_space import InputError

        raise InputError(f"workers must be '{AUTO}' or a positive integer, but got workers={value}.")
    return number


def _engine(name: str) -> str:
    from srnas.search_space import unknown_name

    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    return name


def _ladder(value: Any) -> Any:
    """Return multiples from ``1,3,9``."""
    given = value.split(",") if isinstance(value, str) else value
    parts = given if isinstance(given, list | tuple) else ()
    multiples = tuple(int(one) if isinstance(one, str) and one.strip().isdecimal() else one for one in parts)
    if multiples[:1] != (1,) or not all(type(one) is int for one in multiples) or sorted({*multiples}) != [*multiples]:
        from srnas.search_space import InputError

        raise InputError(f"ladder must be 1 and then larger integers in order, such as 1,3,9, but got ladder={value}.")
    return multiples


class SearchRequest(StudyOptions):
    """What a user asks for; ``None`` takes the space's default (``study``: the space's name and scale)."""

    space: str = option("tiny", "Search space: a name from 'srnas space list', or the path of a TOML file.", "Study")
    trials: int = option(24, "Total number of candidates in the study.", "Study", ge=1)
    study: str | None = option(None, "Name of the study [default: SPACE-xSCALE].", "Study")
    train: Path | None = option(None, "Folder of training photographs [default: embedded].", "Study")
    validation: Path | None = option(None, "Folder of held-out photographs [default: embedded].", "Study", flag="val")
    every_image: bool = option(
        False, "Use every image in --train and --val as a photograph, whatever its folder is called.", "Study"
    )
    raw_colours: bool = option(False, "Use pixel values as they are and ignore colour profiles.", "Study")
    workspace: Path = option(
        DEFAULT_WORKSPACE, "Folder for studies, results and figures.", "Study", variable="SRNAS_WORKSPACE"
    )
    storage: str | None = option(
        None,
        "Database of the study: postgresql://USER@HOST/DATABASE or sqlite:///FILE [default: a file in the workspace].",
        "Study",
        variable="SRNAS_STORAGE",
    )
    enqueue: str | None = option(
        None, "Judge the front of this other study of the workspace before any proposal.", "Strategy"
    )
    patience: int | None = option(
        None, "Stop when the hypervolume has not risen for this many candidates.", "Strategy", ge=1
    )
    ladder: Annotated[tuple[int, ...], BeforeValidator(_ladder)] = option(
        (1,),
        "Lengths as multiples of --iterations, such as 1,3,9: networks near one front continue to the next length.",
        "Strategy",
    )
    replicates: int = option(
        0, "Train the front, its neighbours and human designs again with this many other seeds.", "Strategy", ge=0
    )
    proxies: bool = option(False, "Compute zero-cost proxies as well, as a diagnostic.", "Strategy")
    patch: int | None = option(None, "Training patch in low-resolution pixels [default: by space].", "Training")
    batch: int | None = option(None, "Patches per training step [default: by space].", "Training")
    iterations: int | None = option(None, "Training steps per candidate [default: by space].", "Training")
    learning_rate: float | None = option(
        None,
        "Peak learning rate of AdamW; that of Muon follows from it [default: by space and length].",
        "Training",
        allow_inf_nan=False,
    )
    device: str = option(
        "auto", "Device to train on, and to time on without --target: auto, cpu or cuda[:N].", "Timing"
    )
    latency_input: Annotated[tuple[int, int] | None, BeforeValidator(_size)] = option(
        None, "Low-resolution input to time, as WxH in pixels [default: by space].", "Timing"
    )
    workers: Annotated[int | Literal["auto"], BeforeValidator(_workers)] = option(
        AUTO,
        "Number of worker processes; auto is one per GPU, or per --threads cores. Only 1 is repeatable.",
        "Workers",
        variable="SRNAS_WORKERS",
    )
    engine: Annotated[str, AfterValidator(_engine)] = option("local", "Where workers run: local or ray.", "Workers")
    address: str | None = option(None, "Address of a Ray cluster [default: start one on this machine].", "Workers")

    @classmethod
    def of(cls, **options: Any) -> Self:
        """Return the request of options as :func:`search_options` lists them.

        Raises:
            InputError: If one of them is unknown or cannot be used.
        """
        from srnas.search_space import unknown_name
        from srnas.search_space.errors import parse

        nested: dict[str, Any] = {}
        known = {one.name: one.path for one in search_options()}
        for name, value in options.items():
            if name not in known:
                raise unknown_name("option", name, known)
            *outer, last = known[name]
            place = nested
            for part in outer:
                place = place.setdefault(part, {})
            place[last] = value
        return parse(cls, nested, "search")

    @classmethod
    def of_study(cls, asked: str, study: str) -> Self:
        """Return what a study was started with.

        Args:
            asked: The request, as JSON.
            study: The study's name.

        Raises:
            InputError: If it cannot be read.
        """
        from srnas.search_space import InputError

        try:
            return cls.model_validate_json(asked)
        except ValidationError:
            raise InputError(
                f"study '{study}' must say what it was asked for, but that is of another version of srnas; give its "
                "'srnas search' command again."
            ) from None

    def changed(self, **changes: Any) -> Self:
        """Return the request with other values.

        Raises:
            InputError: If one of them cannot be used.
        """
        from srnas.search_space.errors import parse

        return parse(type(self), {**dict(self), **changes}, "search")

    def absolute(self) -> Self:
        """Return the request as it means the same from any folder."""
        paths = {name: path.resolve() for name in ("train", "validation") if (path := getattr(self, name))}
        space = str(Path(self.space).resolve()) if Path(self.space).is_file() else self.space
        return self.model_copy(update={"workspace": self.workspace.resolve(), "space": space, **paths})

    def portable(self) -> Self:
        """Return the request without what only this machine has: folders, other studies, a storage, a cluster."""
        own = ("train", "validation", "workspace", "storage", "address", "enqueue")
        defaults = {name: type(self).model_fields[name].default for name in own}
        return self.model_copy(update={"space": Path(self.space).name, **defaults})


class SearchOption(NamedTuple):
    """An option of a search.

    Attributes:
        name: Name of the argument of the Python call; with dashes it is the flag of the command.
        path: Names of the fields that lead to the option.
        field: The field with type, default, help and validity.
    """

    name: str
    path: tuple[str, ...]
    field: FieldInfo

    @property
    def panel(self) -> str:
        """The panel in which ``--help`` shows the option."""
        return str(_shown(self.field)["panel"])

    @property
    def variable(self) -> str | None:
        """The environment variable that the command reads it from, if there is one."""
        return str(_shown(self.field)["variable"]) or None


def search_options() -> list[SearchOption]:
    """Return every option of a search; budgets stand among them one by one."""
    return [*_options(SearchRequest, ())]


def _options(model: type[BaseModel], path: tuple[str, ...]) -> list[SearchOption]:
    options: list[SearchOption] = []
    for name, field in model.model_fields.items():
        if field.annotation is Budgets:
            options += _options(Budgets, (*path, name))
        else:
            options.append(SearchOption(str(_shown(field)["flag"]) or name, (*path, name), field))
    return options


def _shown(field: FieldInfo) -> Mapping[str, Any]:
    shown = field.json_schema_extra
    assert isinstance(shown, dict)
    return shown
