"""The two parts `copo`: answers become ids, advantages reach the loss, what is unusable is refused."""

import pytest
import torch
from part_batches import make_rollouts, make_tokens

from alignkit.errors import InputError
from alignkit.objectives.advantages import copo_advantages
from alignkit.objectives.policy import copo_loss, grpo_loss
from alignkit.parts.advantages.answer_ids import boxed, final, find_extractor, ids_of_answers
from alignkit.parts.advantages.copo import COPOAdvantages, COPOAdvantagesConfig
from alignkit.parts.policy_losses.copo import COPOLoss, COPOLossConfig


def first_word(text):
    return text.split()[0]


def no_text(text):
    return 3


NOT_CALLABLE = "a text"


def batch_of(answers, rewards, num_generations=2, **changes):
    texts = [f"so \\boxed{{{answer}}}" for answer in answers]
    load = {"completions": lambda: [[{"role": "assistant", "content": text}] for text in texts]}
    return make_rollouts(rewards, num_generations, load=load, **changes)


def estimate(batch, **settings):
    return COPOAdvantages(COPOAdvantagesConfig(answer_extractor="boxed", **settings)).estimate(batch)


def test_estimates_are_the_objectives_on_the_boxed_answers():
    answers, rewards = ["1", "2", "7", "7", "3", "4"], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    found = estimate(batch_of(answers, rewards), gamma=3.0, rho=0.5)
    expected = copo_advantages(rewards, 2, [0, 1, 2, 2, 3, 4], 3.0, 0.5)
    assert torch.equal(found.values, expected.local_advantages)
    assert torch.equal(found.extras["global_advantages"], expected.global_advantages)
    assert torch.equal(found.extras["local_weight"], expected.local_weight)
    assert found.metrics["copo/answer_entropy"] == pytest.approx(2 / 3)
    assert found.metrics["copo/global_only_share"] == pytest.approx(1 / 3)
    assert found.metrics["copo/prompts_with_signal"] == 1.0


def test_agreeing_prompts_have_a_signal_that_one_prompt_alone_cannot_give():
    both = estimate(batch_of(["1", "1", "2", "2"], [1.0, 1.0, 0.0, 0.0]))
    assert (both.values == 0).all() and (both.extras["global_advantages"] != 0).all()
    alone = estimate(batch_of(["1", "1"], [1.0, 1.0]))
    assert alone.metrics["copo/prompts_with_signal"] == 0.0


def test_several_rewards_are_added_up_by_weight_and_a_missing_one_is_left_out():
    rewards = [[1.0, 0.0], [0.0, 1.0], [float("nan"), float("nan")], [1.0, 1.0]]
    found = estimate(batch_of("1234", rewards, weights=[1.0, 0.5]))
    expected = copo_advantages([1.0, 0.5, float("nan"), 1.5], 2, [0, 1, 2, 3])
    torch.testing.assert_close(found.extras["global_advantages"], expected.global_advantages)
    assert found.values[2] == 0 and found.extras["global_advantages"][2] == 0


def test_the_answer_is_the_last_box_and_no_answer_is_an_answer_too():
    assert boxed("\\boxed{1} then \\boxed{ 1,000 }") == boxed("\\boxed{1000}") == "1000"
    assert boxed("12") is None and final("Answer: 12") == "12"
    texts = ["\\boxed{2}", "none", "nothing", "\\boxed{ 2 }", "\\boxed{}"]
    assert ids_of_answers(texts, boxed, "boxed").tolist() == [0, 1, 1, 0, 1]


def test_an_extractor_is_found_by_its_path():
    extractor = find_extractor(f"{__file__}:first_word")
    assert extractor("seven is it") == "seven"


@pytest.mark.parametrize(
    "name, message",
    [
        (None, "answer_extractor.*missing.*boxed"),
        ("sympy", "answer_extractor.*'sympy'.*package.module:function"),
        ("no_such_module:function", "answer_extractor.*no module"),
        (f"{__file__}:absent", "answer_extractor.*absent"),
        (f"{__file__}:NOT_CALLABLE", "not a function"),
    ],
)
def test_an_unusable_extractor_is_refused_when_the_configuration_is_made(name, message):
    with pytest.raises(InputError, match=message):
        COPOAdvantagesConfig(answer_extractor=name)


def test_an_extractor_that_fails_or_gives_no_text_names_the_completion():
    for function, message in (
        (first_word, "first_word.*IndexError.*completion 1"),
        (no_text, "returned 3.*completion 0"),
    ):
        with pytest.raises(InputError, match=message):
            ids_of_answers(["a b", ""], function, function.__name__)


def test_the_loss_is_the_objective_under_the_trainers_clip_range():
    extras = {
        "global_advantages": torch.tensor([0.5, -1.0, 2.0, 1.0]),
        "local_weight": torch.tensor([0.1, 0.9, 0.5, 1.0]),
    }
    batch = make_tokens(extras=extras, epsilon_low=0.1, epsilon_high=0.3)
    loss = COPOLoss(COPOLossConfig(dual_clip=3.0)).token_loss(batch)
    expected = copo_loss(
        batch.logps, batch.old_logps, batch.advantages, *extras.values(), batch.mask, 0.1, 0.3, dual_clip=3.0
    )
    assert torch.equal(loss, expected)
    ratio = (batch.logps - batch.old_logps).exp()
    outside = ((ratio < 0.9) | (ratio > 1.3))[batch.mask]
    assert torch.equal(batch.metrics["copo/outside_clip_range"][batch.mask] == 1, outside) and outside.any()


def test_with_a_weight_of_one_the_loss_is_grpos():
    batch = make_tokens(extras={"global_advantages": torch.full((4,), 9.0), "local_weight": torch.ones(4)})
    loss = COPOLoss(COPOLossConfig()).token_loss(batch)
    torch.testing.assert_close(loss, grpo_loss(batch.logps, batch.old_logps, batch.advantages, batch.mask))


@pytest.mark.parametrize("settings", [{"gamma": -1.0}, {"rho": -0.5}, {"gamma": float("nan")}])
def test_settings_outside_their_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        COPOAdvantagesConfig(answer_extractor="boxed", **settings)
    with pytest.raises(ValueError, match="dual_clip"):
        COPOLossConfig(dual_clip=1.0)
