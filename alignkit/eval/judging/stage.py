"""Stage "judge": `judgments/<run>-<judge>.jsonl`, one record per reply; what is there is not asked again.

A record: `benchmark, item_id, model, baseline, judge, judge_fingerprint, order, key, attempt, raw_text, top_logprobs,
finish_reason, verdict, kind, score, error, prompt_tokens, completion_tokens, cost, time`. `key` is a hash of the judge's
fingerprint (model, prompt, sampling) and the messages (question and both answers), so a changed answer is judged anew.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import InputError
from alignkit.judges.replies import run_async

from ..costs import Budget, estimate, expected_completion, money_spent, spent
from ..fingerprints import digest
from ..generating import read_generations
from ..items import Item
from ..plan import Plan, Run
from ..records import Record, RecordLog
from .asking import Asker, OpenGame, Outcome, reply_record
from .benchmark import BOTH, Game, JudgedItem, JudgedRun
from .spec import EndpointJudge, LocalJudge, resolve_judge


logger = logging.getLogger(__name__)

# Items that a local judge scores, and records, together: what a kill can cost.
BLOCK_ITEMS = 64


def judge_stage(plan: Plan, folder: Path) -> None:
    """Play every game of the plan that no record holds. Raises `InputError` if games are left without a reply."""
    judge = plan_judge(plan)
    if isinstance(judge, LocalJudge):
        for run in plan.runs:
            judge_locally(plan, run, folder, judge)
        return
    announce_cost(plan, folder, judge)
    if plan.options.engine == "official":
        for run in plan.runs:
            judge_officially(plan, run, folder, judge)
        return
    budget = Budget(plan.options.max_cost, money_spent(folder))
    left = Outcome()
    for run in plan.runs:
        outcome = judge_run(plan, run, folder, judge, budget)
        left.failures += outcome.failures
        left.last_failure = outcome.last_failure or left.last_failure
        if outcome.interrupted:
            raise KeyboardInterrupt
        if outcome.out_of_money:
            raise InputError(
                f"judging stopped at max_cost {plan.options.max_cost:g} ({budget.committed:.2f} spent): what is judged "
                "is kept; raise --max_cost and run the same command again"
            )
    if left.failures and not plan.options.allow_missing:
        raise InputError(
            f"{sum(left.failures.values())} games got no reply ({dict(left.failures)}; the last: {left.last_failure}): "
            "run the same command again to ask for these alone, or add --allow_missing to score without them"
        )


def announce_cost(plan: Plan, folder: Path, judge: EndpointJudge) -> None:
    """Log the estimate of all runs together, and refuse what max_cost forbids, before the first paid call."""
    pending: list[Game] = []
    known: list[Record] = []
    for run in plan.runs:
        log = judgment_log(run, folder, judge)
        known += log.records.values()
        pending += [open_game.game for open_game in open_games(plan, run, folder, judge, log)]
    if not pending:
        return
    messages = [game.messages for game in pending]
    expected = estimate(messages, judge.options, plan.benchmark.completion_tokens, known)
    logger.warning("%s: judging with %s: %s", plan.suite.name, judge.name, expected.describe())
    Budget(plan.options.max_cost, money_spent(folder)).check(expected, judge.name)


def judge_run(plan: Plan, run: Run, folder: Path, judge: EndpointJudge, budget: Budget) -> Outcome:
    """Play the open games of one model."""
    with judgment_log(run, folder, judge) as log:
        games = list(open_games(plan, run, folder, judge, log))
        total = sum(len(games) for _, _, games in played(plan, run, folder, judge))
        if not games:
            return Outcome()
        usual = expected_completion(spent(log.records.values()), judge.options, plan.benchmark.completion_tokens)
        title = f"{plan.suite.name}: judge {run.label}"
        asker = Asker(plan.benchmark, judge.options, log, budget, title, total - len(games), usual)
        return run_async(lambda: asker.play(games))


def judge_officially(plan: Plan, run: Run, folder: Path, judge: EndpointJudge) -> None:
    """Let the benchmark's own package judge the answers, and keep its replies as records of ours."""
    with judgment_log(run, folder, judge) as log:
        games = list(open_games(plan, run, folder, judge, log))
        rows = [(item, answer) for item, _, answer in answered(plan, run, folder)]
        place = engine_folder(folder, run)
        if not games and place.exists():
            return
        replies = plan.benchmark.ask_officially(rows, run.label, judge.options, place)
        for open_game in games:
            if open_game.game.item_id in replies:
                reply = replies[open_game.game.item_id]
                log.append(reply_record(plan.benchmark, open_game, reply, judge.weighted))


def engine_folder(folder: Path, run: Run) -> Path:
    """Where the benchmark's own package works."""
    return folder / "official_engine" / run.fingerprint


def judge_locally(plan: Plan, run: Run, folder: Path, judge: LocalJudge) -> None:
    """Let a judge of ours compare every answer with the baseline's."""
    from tqdm import tqdm

    with judgment_log(run, folder, judge) as log:
        todo = [
            (item, answer, key)
            for item, _, answer in answered(plan, run, folder)
            if not plan.benchmark.identical(item, answer)
            and (local_key(judge, item, answer), 0) not in log
            and (key := local_key(judge, item, answer))
        ]
        for start in tqdm(
            range(0, len(todo), BLOCK_ITEMS), desc=f"{plan.suite.name}: judge {run.label}", disable=not todo
        ):
            block = todo[start : start + BLOCK_ITEMS]
            scores = judge.judge.compare_batch(
                [item.prompt for item, _, _ in block],
                [answer for _, answer, _ in block],
                [plan.benchmark.baseline_answer(item) for item, _, _ in block],
            )
            for (item, _, key), score in zip(block, scores, strict=True):
                value = None if score != score else float(score)
                log.append(
                    {
                        **notes(plan, run, judge, item),
                        "key": key,
                        "attempt": 0,
                        "order": BOTH,
                        "raw_text": None,
                        "verdict": None,
                        "kind": "local",
                        "score": value,
                        "error": None if value is not None else "not finite",
                    }
                )
        judge.judge.unload()


def read_judgments(plan: Plan, folder: Path) -> list[JudgedRun]:
    """Every model's items with their answers and the final records of their games.

    Raises `InputError` if games are missing and `allow_missing` is not set.
    """
    judge = plan_judge(plan)
    return [read_run(plan, run, folder, judge) for run in plan.runs]


def read_run(plan: Plan, run: Run, folder: Path, judge: EndpointJudge | LocalJudge) -> JudgedRun:
    log = judgment_log(run, folder, judge)
    rows = []
    missing = 0
    if isinstance(judge, LocalJudge):
        for item, generation, answer in answered(plan, run, folder):
            keys = [] if plan.benchmark.identical(item, answer) else [local_key(judge, item, answer)]
            records = [log[key, 0] for key in keys if (key, 0) in log]
            missing += len(keys) - len(records)
            rows.append(JudgedItem(item, answer, generation, records))
    else:
        for (item, generation, answer), keys, _ in played(plan, run, folder, judge):
            found = [final_record(log, key, plan.benchmark.attempts) for key in keys]
            missing += sum(record is None for record in found)
            rows.append(JudgedItem(item, answer, generation, [record for record in found if record is not None]))
    if missing and not plan.options.allow_missing:
        raise InputError(
            f"{missing} games of {run.name} have no verdict in {log.path}: run `alignkit eval judge`, or add "
            "--allow_missing"
        )
    official = plan.options.engine == "official"
    return JudgedRun(run, rows, engine_folder(folder, run) if official else None)


def plan_judge(plan: Plan) -> EndpointJudge | LocalJudge:
    from alignkit.data.bundled import resolve_model

    return resolve_judge(plan.options.judge, plan.benchmark, plan.options, resolve_model)


def answered(plan: Plan, run: Run, folder: Path) -> Iterator[tuple[Item, Record, str]]:
    """Every item with the generation record and the answer as the judge sees it."""
    for item, records in read_generations(plan, run, folder):
        yield item, records[0], plan.answer(run, records[0])


def played(
    plan: Plan, run: Run, folder: Path, judge: EndpointJudge
) -> Iterator[tuple[tuple[Item, Record, str], list[str], list[Game]]]:
    """Every item with its games and their keys."""
    for item, record, answer in answered(plan, run, folder):
        games = plan.benchmark.games(item, answer, judge.weighted)
        keys = [digest([judge.fingerprint, game.order, game.messages]) for game in games]
        yield (item, record, answer), keys, games


def open_games(plan: Plan, run: Run, folder: Path, judge: EndpointJudge, log: RecordLog) -> Iterator[OpenGame]:
    """The games that have neither a verdict nor used up their attempts. Equal games are played once."""
    seen = set()
    for (item, _, _), keys, games in played(plan, run, folder, judge):
        for key, game in zip(keys, games, strict=True):
            if key in seen:
                continue
            seen.add(key)
            if final_record(log, key, plan.benchmark.attempts) is None:
                replies = [log[key, attempt]["raw_text"] for attempt in paid_attempts(log, key)]
                yield OpenGame(game, key, notes(plan, run, judge, item), replies)


def final_record(log: RecordLog, key: str, attempts: int) -> Record | None:
    """The record with the verdict, or the last one allowed; None while the game is open."""
    paid = [log[key, attempt] for attempt in paid_attempts(log, key)]
    if paid and (paid[-1]["score"] is not None or paid[-1]["final"] or len(paid) >= attempts):
        return paid[-1]
    return None


def paid_attempts(log: RecordLog, key: str) -> range:
    count = 0
    while (key, count) in log:
        count += 1
    return range(count)


def notes(plan: Plan, run: Run, judge: EndpointJudge | LocalJudge, item: Item) -> Record:
    return {
        "benchmark": plan.suite.name,
        "item_id": item.item_id,
        "model": run.name,
        "baseline": plan.benchmark.baseline_name(item),
        "judge": judge.name,
        "judge_fingerprint": judge.fingerprint,
    }


def local_key(judge: LocalJudge, item: Item, answer: str) -> str:
    return digest([judge.fingerprint, item.prompt, item.extra, answer])


def judgment_log(run: Run, folder: Path, judge: EndpointJudge | LocalJudge) -> RecordLog:
    path = folder / "judgments" / f"{run.fingerprint}-{judge.fingerprint}.jsonl"
    return RecordLog(path, lambda record: (record["key"], record["attempt"]))
