"""A method's configuration keeps the defaults of its parts, and no part's field hides one of TRL's."""

import dataclasses
import inspect

import pytest
from trl import GRPOConfig

from alignkit.catalog import METHODS
from alignkit.parts.table import PARTS, load_part


ONLINE = [method.key for method in METHODS.values() if method.family in ("online", "ppo")]


@pytest.mark.parametrize("key", ONLINE)
def test_the_parts_defaults_are_the_methods_unless_it_says_otherwise_itself(key):
    config = METHODS[key].load_config()
    for slot, name in config.preset.items():
        for item in dataclasses.fields(load_part(slot, name).Config):
            own = config.__dataclass_fields__[item.name]
            if item.name not in inspect.get_annotations(config):
                assert own.default == item.default, (slot, name, item.name)


@pytest.mark.parametrize("slot, name", [(slot, name) for slot in PARTS for name in PARTS[slot]])
def test_no_setting_of_a_part_has_the_name_of_a_field_of_trl(slot, name):
    theirs = {item.name for item in dataclasses.fields(GRPOConfig)}
    ours = {item.name for item in dataclasses.fields(load_part(slot, name).Config)}
    assert not ours & theirs
