"""The installed TRL and transformers still have the seams that alignkit overrides."""

import inspect
import re

import pytest
import trl
from trl.trainer import dpo_trainer, grpo_trainer

from alignkit.catalog.method import load_object
from alignkit.trainers.trl_seams import DPO_ATTRIBUTES, GRPO_ATTRIBUTES, SEAMS, TRL_VERSION


def test_trl_is_the_version_the_seams_were_read_from():
    assert trl.__version__ == TRL_VERSION


@pytest.mark.parametrize("owner, method", [(owner, method) for owner in SEAMS for method in SEAMS[owner]])
def test_seam_is_where_it_was(owner, method):
    function = getattr(load_object(owner), method)
    assert tuple(inspect.signature(function).parameters) == SEAMS[owner][method]


@pytest.mark.parametrize("name", DPO_ATTRIBUTES)
def test_attribute_is_still_set_by_trl(name):
    if name != "_signature_columns":  # transformers sets it
        assert f"self.{name} " in inspect.getsource(dpo_trainer.DPOTrainer) + " "


@pytest.mark.parametrize("name", GRPO_ATTRIBUTES)
def test_attribute_is_still_set_by_grpo(name):
    source = inspect.getsource(grpo_trainer.GRPOTrainer)
    assert re.search(rf"self\.{name}(: [^=]*)? = ", source)
