"""From a configuration to the parts in its seven slots: read, set, and refused where they do not go together."""

from dataclasses import dataclass, fields
from typing import Any

from ...errors import InputError
from ...parts.part import default_of, refuse
from ...parts.table import IDENTITY, SLOTS, load_part


@dataclass(frozen=True)
class SlotChoice:
    """The part in one slot: its name, its class and its configuration."""

    slot: str
    name: str
    part: Any
    config: Any

    def build(self, seed: int) -> Any:
        """The part itself, with a fresh state."""
        return self.part(self.config, seed)


def choose_parts(args: Any) -> dict[str, SlotChoice]:
    """The parts that a configuration names, by slot; a slot that it leaves empty is missing.

    A method's configuration names its own parts in `preset` and holds their settings as fields of its own.

    Raises `InputError` for an unknown part or setting, or a value that a part refuses.
    """
    chosen = {}
    for slot in SLOTS:
        given, preset = getattr(args, slot), args.preset.get(slot)
        if preset is not None and given is not None:
            raise InputError(
                f"`{slot}` is {given!r}, but {type(args).__name__} fills that slot itself (with `{preset}`); leave it "
                "out, or train the method `online`."
            )
        if preset is not None:
            part = load_part(slot, preset)
            values = {item.name: getattr(args, item.name) for item in fields(part.Config)}
            chosen[slot] = SlotChoice(slot, preset, part, _configure(slot, preset, part, values))
        elif given is not None:
            name, values = _read(slot, given)
            part = load_part(slot, name)
            if name != IDENTITY.get(slot) or values:
                chosen[slot] = SlotChoice(slot, name, part, _configure(slot, name, part, values))
    return chosen


def _read(slot: str, given: Any) -> tuple[str, dict[str, Any]]:
    """A part as YAML gives it: a name, or a mapping of name and settings."""
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise InputError(
            f"`{slot}` is {given!r}; expected the name of a part, or a mapping with `name` and its settings."
        )
    return given["name"], {key: value for key, value in given.items() if key != "name"}


def _configure(slot: str, name: str, part: Any, values: dict[str, Any]) -> Any:
    known = {item.name: item for item in fields(part.Config)}
    unknown = [key for key in values if key not in known]
    if unknown:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise InputError(f"`{slot}`: the part `{name}` has no setting `{unknown[0]}`; {takes}.")
    try:
        return part.Config(**values)
    except (ValueError, TypeError) as error:
        raise InputError(f"`{slot}`: {error}") from error


def apply_settings(args: Any, chosen: dict[str, SlotChoice]) -> None:
    """Write the fields that the parts decide into the configuration; refuse those that were set to something else."""
    decided: dict[str, tuple[Any, SlotChoice]] = {}
    for choice in chosen.values():
        for name, value in choice.part.settings(choice.config).items():
            if name in decided and decided[name][0] != value:
                other = decided[name][1]
                raise InputError(
                    f"{other.slot} `{other.name}` needs `{name}` {decided[name][0]!r}, and {choice.slot} "
                    f"`{choice.name}` needs {value!r}: they do not go together."
                )
            decided[name] = (value, choice)
    for name, (value, choice) in decided.items():
        current = getattr(args, name)
        if current != value and current != default_of(type(args), name):
            raise refuse(choice.name, choice.slot, name, current, f"it needs {value!r}; leave the field out.")
        setattr(args, name, value)


def warn_of_parts(args: Any, chosen: dict[str, SlotChoice]) -> list[str]:
    """What the parts say of a configuration that will run, but perhaps not as meant."""
    return [
        f"{choice.slot} `{choice.name}`: {sentence}"
        for choice in chosen.values()
        for sentence in choice.part.warnings(choice.config, args)
    ]


def check_parts(args: Any, chosen: dict[str, SlotChoice]) -> None:
    """Raise `InputError` for a field that a part would ignore, or parts that do not go together, with the reason."""
    decided = {name for choice in chosen.values() for name in choice.part.settings(choice.config)}
    for choice in chosen.values():
        for name, reason in choice.part.ignores.items():
            value = getattr(args, name)
            if name not in decided and value != default_of(type(args), name):
                raise refuse(choice.name, choice.slot, name, value, reason)
        choice.part.check(choice.config, args)
    advantage, loss = chosen.get("advantage"), chosen.get("policy_loss")
    given = advantage.part.extras(advantage.config) if advantage else ()
    needed = loss.part.needs_extras if loss else ()
    loss_name, advantage_name = loss.name if loss else args.loss_type, advantage.name if advantage else "grpo"
    if missing := [name for name in needed if name not in given]:
        raise InputError(
            f"policy_loss `{loss_name}` needs {', '.join(missing)} for each completion, which advantage "
            f"`{advantage_name}` does not give; use the advantage part of the same method."
        )
    if unused := [name for name in given if name not in needed]:
        raise InputError(
            f"advantage `{advantage_name}` gives {', '.join(unused)}, which policy_loss `{loss_name}` would ignore: "
            "that would be another method. Use the loss part of the same method."
        )
    allocator = chosen.get("allocator")
    if allocator and allocator.part.own and not (advantage and advantage.part.any_groups):
        raise InputError(
            f"allocator `{allocator.name}` makes groups of different sizes, and advantage `{advantage_name}` needs "
            "groups of equal size."
        )
    if loss and loss.part.own and (args.use_adaptive_entropy or args.use_liger_kernel):
        name = "use_adaptive_entropy" if args.use_adaptive_entropy else "use_liger_kernel"
        raise refuse(loss.name, loss.slot, name, True, "it belongs to TRL's own losses.")
    if advantage and advantage.part.token_level and args.loss_type == "vespo":
        raise InputError(
            f"advantage `{advantage_name}` has a value for each token; the loss `vespo` weighs whole completions."
        )
