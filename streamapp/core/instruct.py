"""Folds an instruction of the control topic: follows it or refuses it, and says so. Writes nothing itself.

An instruction is followed once, or refused once. What became of it stands in the row that it concerns, written together
with the change, so a second reading is answered as the first was, whatever has happened in between.
"""

from dataclasses import replace
from datetime import datetime

from streamapp.core import rows, verdicts
from streamapp.core.effects import (
    Change,
    Decision,
    Effect,
    Emit,
    OfCommand,
    OfDag,
    OfKey,
    Put,
    Scope,
    Steer,
    Track,
    place,
)
from streamapp.core.events import Instructed
from streamapp.core.model import (
    ANSWER_IDS_KEPT,
    ANSWERS_KEPT,
    Action,
    Answer,
    Entry,
    Instruction,
    Outcome,
    Standing,
    Status,
    Timings,
)
from streamapp.core.state import State

_ENDS_AS = {Action.SKIP: Status.SKIPPED, Action.CANCEL: Status.CANCELLED}
_STOPS = frozenset({Action.HOLD, Action.PAUSE})


def instruct(state: State, event: Instructed) -> Decision:
    """Fold an instruction."""
    asked = event.instruction
    match asked.action:
        case Action.EXPIRE:
            return _expire(_asked_for(state, asked), event.at)
        case Action.RETRY | Action.SKIP | Action.CANCEL:
            return _of_command(state, event)
        case Action.HOLD | Action.RELEASE:
            return _of_key(state, event)
        case Action.PAUSE | Action.RESUME:
            return _of_dag(state, event)


def _asked_for(state: State, asked: Instruction) -> Entry | None:
    holder = state.holder(asked.command_id) if asked.command_id is not None else None
    return state.entry(holder.key, holder.offset) if holder else None


# One command


def _of_command(state: State, event: Instructed) -> Decision:
    """What was answered stands beside the command: another round, or another command, may hold the id meanwhile."""
    asked = event.instruction
    if asked.command_id is None:
        return _nowhere(event, f"{asked.action} needs a command_id")
    scope = OfCommand(asked.command_id)
    standing = state.standing(scope)
    entry = _asked_for(state, asked)
    answer = _given(standing.answers, asked) if standing else None
    if answer is None:
        followed = _followed(state, entry, asked)
        if followed is not None:  # a crash cut it short
            answer = Answer(asked.control_id, about=followed.source.offset)
    if answer is not None:
        return _of_command_again(state, entry, _standing(standing, event, answer, stopped=False), event, answer)
    if entry is None:
        return _refuse(scope, standing, event, "no command of this id is remembered on this partition")
    changed = _retried(entry, event) if asked.action is Action.RETRY else _ended(state, entry, event)
    if isinstance(changed, Entry):
        return _changed(state, entry, changed, standing, event)
    answer = Answer(asked.control_id, changed, entry.source.offset)
    said = _of_entry(entry, event, answer)
    return Decision((Put(scope, _standing(standing, event, answer, stopped=False)),), (said,))


def _followed(state: State, entry: Entry | None, asked: Instruction) -> Entry | None:
    """Of a command's rounds, the one for which this instruction was followed last of all; None where it was not.

    Where a crash kept the answer from being written, the next round may be open before the instruction is read again.
    It has taken over the control id, so that only then rounds are walked through.
    """
    followed = None
    while entry is not None and entry.instructed == asked.control_id:
        followed = entry
        entry = state.entry(entry.key, entry.reopens.source.offset) if entry.reopens is not None else None
    return followed


def _of_command_again(
    state: State, entry: Entry | None, standing: Standing, event: Instructed, answer: Answer
) -> Decision:
    about = state.entry(entry.key, answer.about) if entry is not None and answer.about is not None else None
    written = Put(OfCommand(event.instruction.command_id or ""), standing)
    if about is None:
        return Decision((written,), (_of_scope(event, answer),))
    said: list[Effect] = [_of_entry(about, event, answer)]
    if about.status.terminal and answer.refused is None:
        said.extend(verdicts.verdict(about))
    return Decision((*rows.again(about), written), tuple(said))


def _changed(state: State, entry: Entry, changed: Entry, standing: Standing | None, event: Instructed) -> Decision:
    """An instruction that was followed: the answer first, then what follows."""
    answer = Answer(event.instruction.control_id, about=entry.source.offset)
    changed = replace(changed, at=event.at, instructed=answer.control_id)
    effects: list[Effect] = [_of_entry(entry, event, answer)]
    if changed.status.terminal:
        changed = rows.shrunk(changed)
        effects.extend(verdicts.verdict(changed))
    effects.extend([Track(changed), *verdicts.released(state, entry, changed)])
    written = Put(OfCommand(entry.id), _standing(standing, event, answer, stopped=False))
    return Decision((*rows.moved(entry, changed), written), tuple(effects))


def _retried(entry: Entry, event: Instructed) -> Entry | str:
    """Another attempt in the same place of the key's order; or why not."""
    if entry.ending is not None:
        return f"it is being ended as {entry.ending}"
    if entry.status not in {Status.BLOCKED, Status.ATTEMPT_FAILED}:
        return _not_failed(entry)
    if entry.deadline is not None and entry.deadline <= event.at:
        return "its deadline has passed: skip it, or release its key and redrive it with another deadline"
    if entry.status is Status.ATTEMPT_FAILED:  # it waits for its next attempt
        return replace(entry, not_before=None)
    again = replace(entry, status=Status.ACCEPTED, not_before=None, reason=None, detail=None)
    if entry.run_id is None and not entry.refused:  # 0.1 did not use up the number of a refusal that blocked a key
        again = replace(again, attempt=entry.attempt + 1, refused=1)
    return again


def _not_failed(entry: Entry) -> str:
    if entry.status in {Status.FAILED, Status.REJECTED}:
        return f"it has ended as {entry.status} and its key has moved on: redrive its dead letter"
    if entry.status.terminal:
        return f"it has ended as {entry.status}: replay it to run it again"
    return "its run is under way" if entry.status is Status.TRIGGERED else "it has not been tried yet"


def _ended(state: State, entry: Entry, event: Instructed) -> Entry | str:
    """Skip or cancel: at once where no request can be under way, else once its owner has settled that; or why not."""
    action = event.instruction.action
    status = _ENDS_AS[action]
    if entry.status.terminal:
        return f"it has ended as {entry.status}"
    if entry.ending is not None:
        return f"it is being ended as {entry.ending}"
    if entry.status is Status.TRIGGERED and action is Action.SKIP:
        return "its run is under way: cancel stops it"
    why = verdicts.cut(_told(event.instruction))
    waits = entry.ordered and entry.key is not None and state.head(entry.key) != entry.source.offset
    if waits or entry.status is Status.BLOCKED:
        return replace(entry, status=status, reason=None, detail=why)
    return replace(entry, ending=status, detail=why)


def _expire(entry: Entry | None, at: datetime) -> Decision:
    """Mark a command whose deadline has passed; its owner settles any POST in flight before the fold ends it."""
    if entry is None or not entry.dispatchable or entry.deadline is None or at < entry.deadline:
        return Decision()
    now = replace(entry, ending=Status.EXPIRED, at=at)
    return Decision((Put(place(now), now),), (Track(now),))


# A key


def _of_key(state: State, event: Instructed) -> Decision:
    asked = event.instruction
    if asked.key is None:
        return _nowhere(event, f"{asked.action} needs a key")
    scope = OfKey(asked.key)
    standing = state.standing(scope)
    before = _given(standing.answers, asked) if standing else None
    held = standing is not None and standing.stopped
    lets_go = held if before is None else before.about is None  # of a hold; else of a command that blocks the key
    if asked.action is Action.HOLD or lets_go:
        return _stand(scope, standing, event)
    first = state.head(asked.key) if before is None else before.about
    blocked = state.entry(asked.key, first) if first is not None else None
    if blocked is not None and blocked.status is Status.BLOCKED:
        return _unblocked(state, scope, blocked, standing, event)
    if before is None or standing is None:
        return _refuse(scope, standing, event, "the key is neither on hold nor blocked")
    said: list[Effect] = [_of_scope(event, before)]
    changes: list[Change] = [Put(scope, standing)]
    if blocked is not None:
        changes.extend(rows.again(blocked))
        said.extend(verdicts.verdict(blocked))
    return Decision(tuple(changes), tuple(said))


def _unblocked(state: State, scope: Scope, blocked: Entry, standing: Standing | None, event: Instructed) -> Decision:
    """End what blocks its key.

    The answer is written first and names the command, so that a crash between the rows is noticed: the command is
    still blocked then.
    """
    ended = Status.REJECTED if blocked.run_id is None else Status.FAILED
    now = rows.shrunk(replace(blocked, status=ended, at=event.at))
    answer = Answer(event.instruction.control_id, about=blocked.source.offset)
    stands = _standing(standing, event, answer, stopped=False)
    effects = (_of_scope(event, answer), *verdicts.verdict(now), Track(now), *verdicts.released(state, blocked, now))
    return Decision((Put(scope, stands), *rows.moved(blocked, now)), effects)


# A DAG, or all


def _of_dag(state: State, event: Instructed) -> Decision:
    asked = event.instruction
    if asked.command_id is not None or asked.key is not None:
        return _nowhere(event, f"{asked.action} takes a dag_id, or nothing for all DAGs; hold stops a key")
    if asked.dag_id == "":  # a variable that was not set must not stop everything
        return _nowhere(event, "the dag_id is empty: leave it out for all DAGs")
    scope = OfDag(asked.dag_id or "")
    return _stand(scope, state.standing(scope), event)


def _stand(scope: Scope, standing: Standing | None, event: Instructed) -> Decision:
    """Stop a key or a DAG, or let it go on."""
    asked = event.instruction
    stop = asked.action in _STOPS
    answer = _given(standing.answers, asked) if standing else None
    if standing is not None and answer is not None:
        return Decision((Put(scope, standing),), (_of_scope(event, answer),))
    if (standing is not None and standing.stopped) == stop:
        what = "the key is on hold" if isinstance(scope, OfKey) else "that is paused"
        return _refuse(scope, standing, event, f"{what} already" if stop else "it is not paused")
    answer = Answer(asked.control_id)
    now = _standing(standing, event, answer, stopped=stop)
    return Decision((Put(scope, now),), (_of_scope(event, answer), Steer(scope, stop)))


def _refuse(scope: Scope, standing: Standing | None, event: Instructed, why: str) -> Decision:
    """A refusal, remembered: read again when things have changed, it must not be followed."""
    answer = _given(standing.answers, event.instruction) if standing else None
    if standing is None:
        standing = _standing(None, event, Answer(event.instruction.control_id, why), stopped=False)
    elif answer is None:
        standing = replace(standing, answers=_with(standing.answers, Answer(event.instruction.control_id, why)))
    return Decision((Put(scope, standing),), (_of_scope(event, answer or Answer(event.instruction.control_id, why)),))


def _standing(before: Standing | None, event: Instructed, answer: Answer, *, stopped: bool) -> Standing:
    asked, answers = event.instruction, before.answers if before else ()
    if answer not in answers:
        answers = _with(answers, answer)
    return Standing(stopped=stopped, by=asked.by, reason=asked.reason, at=event.at, answers=answers)


# Answers


def _given(answers: tuple[Answer, ...], asked: Instruction) -> Answer | None:
    return next((answer for answer in answers if answer.control_id == asked.control_id), None)


def _with(answers: tuple[Answer, ...], answer: Answer) -> tuple[Answer, ...]:
    kept = (*answers, answer)[-ANSWERS_KEPT:]
    while sum(len(one.control_id) for one in kept) > ANSWER_IDS_KEPT:
        kept = kept[1:]
    return kept


def _of_entry(entry: Entry, event: Instructed, answer: Answer) -> Emit:
    about = replace(verdicts.outcome_of(entry), reason=None, timings=Timings(), duplicate_of=None)
    return _said(about, event, answer)


def _nowhere(event: Instructed, why: str) -> Decision:
    """A refusal of what makes no sense, whatever the table says."""
    return Decision((), (_of_scope(event, Answer(event.instruction.control_id, why)),))


def _of_scope(event: Instructed, answer: Answer) -> Emit:
    asked = event.instruction
    about = Outcome(
        command_id=asked.command_id or "",
        key=asked.key,
        command=None,
        dag_id=asked.dag_id,
        dag_run_id=None,
        round=0,
        attempt=0,
        status=Status.INSTRUCTION_REFUSED,
        at=event.at,
        source=event.source,
    )
    return _said(about, event, answer)


def _said(about: Outcome, event: Instructed, answer: Answer) -> Emit:
    asked, told = event.instruction, _told(event.instruction)
    refused = answer.refused is not None
    outcome = replace(
        about,
        status=Status.INSTRUCTION_REFUSED if refused else Status.INSTRUCTION_APPLIED,
        detail=verdicts.cut(f"refused, {answer.refused} ({told})" if refused else told),
        at=event.at,
        control_id=asked.control_id,
    )
    return Emit(outcome)


def _told(asked: Instruction) -> str:
    """Who asked for what, and why."""
    return f"{asked.action} by {asked.by}" + (f": {asked.reason}" if asked.reason else "")
