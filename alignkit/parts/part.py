"""What every part is: a configuration dataclass, what it says of TRL's configuration, and its state."""

from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar

from ..errors import InputError


@dataclass
class PartConfig:
    """Base of the parts' configurations. A subclass adds fields with help texts, and refuses bad values when it is made."""


class Part:
    """Base of all parts.

    Args:
        config: an instance of the class's `Config`.
        seed: the run's seed, for a part that draws random numbers from a generator of its own.

    Class attributes:
        Config: dataclass of the part's settings, the only home of their defaults.
        sets: {field of the trainer's configuration: value} that the part decides. A field that was set to anything but
            its default or that value is refused.
        ignores: {field: reason}: fields that would have no effect beside this part, and are refused unless they have
            their default.
    """

    Config: ClassVar[type[PartConfig]] = PartConfig
    sets: ClassVar[dict[str, Any]] = {}
    ignores: ClassVar[dict[str, str]] = {}

    def __init__(self, config: Any, seed: int = 0) -> None:
        self.config = config
        self.seed = seed

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        """The fields of the trainer's configuration that the part decides under its own configuration."""
        return cls.sets

    @classmethod
    def check(cls, config: Any, args: Any) -> None:
        """Raise `InputError` where the part does not go with the rest of the trainer's configuration `args`."""

    @classmethod
    def warnings(cls, config: Any, args: Any) -> list[str]:
        """Sentences on what will run beside the trainer's configuration `args`, but perhaps not as meant."""
        return []

    def check_rewards(self, names: list[str]) -> None:
        """Raise `InputError` where the part does not go with the reward functions, whose names the trainer then knows."""

    def state_dict(self) -> dict[str, Any]:
        """State for an exact resume: tensors, and values that JSON can hold. The same on every process."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` gave."""


def default_of(config_class: type, name: str) -> Any:
    """The default of a dataclass field."""
    item = next(item for item in fields(config_class) if item.name == name)
    return item.default_factory() if item.default_factory is not MISSING else item.default


def refuse(name: str, slot: str, field_name: str, value: Any, reason: str) -> InputError:
    """The error for a field that does not go with a part."""
    return InputError(f"`{field_name}` is {value!r}, which does not go with {slot} `{name}`: {reason}")
