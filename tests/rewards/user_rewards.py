"""Reward functions as a user writes them, good and bad, named by path in the tests."""

import re
import time


def word_count(completions, per=1.0):
    """Takes no `**kwargs`: what TRL passes beside must be left out."""
    return [len(text.split()) / per for text in completions]


def make_threshold(at):
    """Makes a reward function."""

    def threshold(completions, **columns):
        return [float(len(text) >= at) for text in completions]

    return threshold


class Shouting:
    def __init__(self, mark="!"):
        self.mark = mark

    def __call__(self, completions, **columns):
        return [float(text.endswith(self.mark)) for text in completions]


async def patient(completions, **columns):
    return [float(len(text)) for text in completions]


async def asleep(completions, **columns):
    import asyncio

    await asyncio.sleep(60)


def fails_on_digits(completions, **columns):
    return [1.0 / (0 if text.isdigit() else 1) for text in completions]


def wants_reference(completions, reference):
    return [0.0] * len(completions)


def loops(completions, **columns):
    while True:
        pass


def sleeps(completions, **columns):
    time.sleep(60)


def backtracks(completions, **columns):
    return [float(bool(re.match(r"(a+)+$", "a" * 60 + "b"))) for _ in completions]


def swallows(completions, **columns):
    while True:
        try:
            time.sleep(60)
        except Exception:
            continue


def holds_the_lock(completions, **columns):
    return [float(sum(range(10**15)))]


NUMBER = 3
