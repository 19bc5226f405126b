"""Planted bugs: each changes the product's real code for a while. Reads nothing; that each is found is tested.

A simulator that finds nothing in these would find nothing in the product either.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from random import SystemRandom
from types import SimpleNamespace
from typing import Any

from streamapp.agents import rebalance, sink
from streamapp.agents.parts import Parts
from streamapp.airflow.port import DagRun, DagRunState
from streamapp.core import instruct, observe, receive, rows, verdicts
from streamapp.core.effects import Decision, Put, Track, place
from streamapp.core.model import Action, Entry, Ordering, Original, Reason, RunState, Status
from streamapp.core.reopen import Opened
from streamapp.dispatch import prune, trigger
from streamapp.dispatch.fold import Folds
from streamapp.dispatch.follow import Follower
from streamapp.dispatch.gate import Gate
from streamapp.dispatch.partition import Partition
from streamapp.dispatch.ready import Ready
from streamapp.dispatch.reconcile import Reconciler
from streamapp.dispatch.stops import Stops
from streamapp.dispatch.turns import Turns
from streamapp.kafka.gaps import Gaps
from streamapp.kafka.lease import Lease

Patch = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Mutation:
    """A planted bug."""

    name: str
    plant: Patch
    replayed: bool = False
    """Whether it is found because a seed no longer is a schedule."""

    def __str__(self) -> str:
        return self.name


MUTATIONS: list[Mutation] = []
SEEDS = range(2000)
"""Where each must be found, if only in one of them."""


def planted(*, replayed: bool = False) -> Callable[[Callable[[], Any]], Patch]:
    """Note a bug; its function answers what is replaced, each as (owner, name, replacement)."""

    def note(make: Callable[[], list[tuple[Any, str, Any]]]) -> Patch:
        @contextmanager
        def plant() -> Iterator[None]:
            swaps = make()
            stock = [(owner, name, owner.__dict__[name]) for owner, name, _ in swaps]
            for owner, name, new in swaps:
                setattr(owner, name, new)
            try:
                yield
            finally:
                for owner, name, old in stock:
                    setattr(owner, name, old)

        MUTATIONS.append(Mutation(make.__name__, plant, replayed))
        return plant

    return note


# The four steps of a fold


@planted()
def effects_leave_before_their_rows() -> Any:
    stock = Folds._begin

    def begin(self: Any, fold: Any, decision: Any) -> None:
        self._acking[fold.source].append(fold)
        self._leave(fold)
        self._acking[fold.source].remove(fold)
        fold.sends, fold.effects = [], []
        stock(self, fold, decision)

    return [(Folds, "_begin", begin)]


@planted()
def rows_enter_before_the_changelog_has_them() -> Any:
    stock = Folds._begin

    def begin(self: Any, fold: Any, decision: Any) -> None:
        stock(self, fold, decision)
        for row in fold.rows:
            self._ledger.directory[fold.partition.number].write(row.key, row.value)

    return [(Folds, "_begin", begin)]


@planted()
def acks_do_not_wait_for_effects() -> Any:
    def ack(self: Any, source: Any) -> None:
        queue = self._acking[source]
        while queue and queue[0].sent is not None:
            queue.popleft().ack()

    return [(Folds, "_ack", ack)]


@planted()
def events_are_acked_when_they_are_read() -> Any:
    stock = Parts.fold

    def fold(self: Any, message: Any, event: Any, ack: Any) -> None:
        stock(self, message, event, lambda: None)
        ack()

    return [(Parts, "fold", fold)]


@planted()
def partitions_are_given_up_with_folds_under_way() -> Any:
    async def end_folds(_: Any, parts: Parts) -> None:
        parts.partitions.give_up()

    return [(rebalance, "end_folds", end_folds)]


# The order of a key


@planted()
def the_next_is_released_when_a_run_exists() -> Any:
    def release(state: Any, before: Entry, now: Entry) -> list[Any]:
        if not before.ordered or (now.ordered and not now.status.terminal and now.status is not Status.TRIGGERED):
            return []
        assert before.key is not None
        successor = state.next_after(before.key, before.source.offset)
        return [Track(successor)] if successor else []

    return [(verdicts, "released", release)]


@planted()
def the_next_is_released_before_the_end_is_folded() -> Any:
    stock = Follower._send

    def send(self: Any, run: Any, outcome: Any) -> None:
        stock(self, run, outcome)
        parts, entry = self._airflow._worker.parts, run.entry
        partition = parts.partitions.get(entry.source.partition)
        if partition is not None and entry.ordered:
            successor = partition.next_after(entry.key, entry.source.offset)
            if successor is not None:
                parts.ready.track(successor)

    return [(Follower, "_send", send)]


@planted()
def a_redelivered_command_is_dispatched() -> Any:
    stock = receive._receive_again

    def again(state: Any, event: Any, known: Entry) -> Decision:
        decision = stock(state, event, known)
        return replace(decision, effects=(*decision.effects, Track(known)))

    return [(receive, "_receive_again", again)]


# Crashes between rows


@planted()
def redelivery_writes_nothing_again() -> Any:
    return [(rows, "again", lambda _: [])]


@planted()
def the_old_row_goes_before_the_new_one_comes() -> Any:
    stock = rows.moved
    return [(rows, "moved", lambda before, now: stock(before, now)[::-1])]


@planted()
def a_rebuild_forgets_what_holds_no_key() -> Any:
    stock = Partition.recover
    return [(Partition, "recover", lambda self: (one for one in stock(self) if one.ordered))]


# Airflow's answers


@planted()
def a_lost_answer_is_taken_for_a_run() -> Any:
    async def look(self: Any, why: str, *, existed: bool = False) -> Any:
        return self._triggered(SimpleNamespace(created_at=None), adopted=True)

    return [(trigger._Try, "_look", look)]


@planted()
def a_lost_answer_is_taken_for_a_refusal() -> Any:
    stock = trigger._Try._look

    async def look(self: Any, why: str, *, existed: bool = False) -> Any:
        if existed:
            return await stock(self, why, existed=True)
        return self._ended(RunState.NOT_CREATED, Reason.REFUSED_BY_AIRFLOW, why)

    return [(trigger._Try, "_look", look)]


@planted()
def a_run_that_was_deleted_is_asked_for_again() -> Any:
    stock = trigger._Try._look

    async def look(self: Any, why: str, *, existed: bool = False) -> Any:
        answer = await stock(self, why, existed=existed)
        self._memory.existed = False
        return answer

    return [(trigger._Try, "_look", look)]


@planted()
def a_refusal_counts_while_a_request_is_under_way() -> Any:
    async def refused(self: Any, reason: Reason, detail: str) -> Any:
        return self._ended(RunState.NOT_CREATED, reason, detail)

    return [(trigger._Try, "_refused", refused)]


@planted()
def a_new_owner_has_no_doubt() -> Any:
    return [(trigger.Trigger, "inherit", lambda *_: None)]


@planted()
def no_request_is_thought_to_be_late() -> Any:
    return [(trigger, "DOUBT", timedelta(0))]


@planted()
def a_worker_reports_although_its_partition_went() -> Any:
    async def start(parts: Parts, note: Any) -> None:
        entry = parts.partitions.entry(note.source.partition, note.key, note.source.offset)
        if entry is None or not (entry.dispatchable or entry.ending):
            parts.ready.forget(note)
            return
        parts.may_start()
        answer = await parts.trigger.run(entry)
        if isinstance(answer, trigger.Postponed):
            parts.ready.done(note, answer.delay)
        else:
            parts.report(answer)
            parts.ready.done(note, None)

    return [(sink, "start", start)]


@planted()
def asks_about_a_paused_dag_and_never_mind_what_happens_meanwhile() -> list[tuple[Any, str, Any]]:
    stock = trigger._Try.begin

    async def begin(self: Any, _: Callable[[], bool]) -> Any:
        return await stock(self, lambda: True)

    return [(trigger._Try, "begin", begin)]


@planted()
def a_dispatch_that_failed_is_forgotten() -> Any:
    stock = Ready.done

    def done(self: Any, note: Any, retry_after: Any) -> None:
        if retry_after is None:
            stock(self, note, None)
        else:
            self.forget(note)

    return [(Ready, "done", done)]


@planted()
def a_dag_that_has_room_again_is_not_looked_at() -> Any:
    stock = Ready._count

    def count(self: Any, note: Any, by: int) -> None:
        turns, self._turns = self._turns, Turns()
        stock(self, note, by)
        self._turns = turns

    return [(Ready, "_count", count)]


@planted()
def the_next_attempt_asks_for_the_same_run() -> Any:
    return [(Entry, "run_attempt", property(lambda self: max(self.attempt, 1)))]


@planted()
def runs_that_no_list_shows_are_never_looked_for() -> Any:
    async def walk(*_: Any) -> None:
        pass

    return [(Reconciler, "_walk", walk)]


@planted()
def a_hint_is_taken_for_an_end() -> Any:
    def hint(self: Any, dag_id: str, run_id: str) -> None:
        run = self._names.get((dag_id, run_id))
        if run is not None and self.is_open(run):
            now = self._clock.now()
            end = DagRun(dag_id=dag_id, run_id=run_id, state=DagRunState.SUCCESS, conf={}, started_at=now, ended_at=now)
            self.see(run, end)
            self._hinted.set()

    return [(Follower, "hint", hint)]


# Endings


@planted()
def a_refusal_is_believed_though_the_run_may_exist() -> Any:
    async def refused(self: Any, reason: Reason, detail: str) -> Any:
        if self._doubt > timedelta():
            return trigger.Postponed(self._doubt, detail)
        return self._ended(RunState.NOT_CREATED, reason, detail)

    return [(trigger._Try, "_refused", refused)]


@planted()
def a_request_leaves_whatever_has_happened_since_it_was_begun() -> Any:
    stock = trigger._Try.ask

    async def ask(self: Any, _: Any) -> Any:
        return await stock(self, lambda: True)

    return [(trigger._Try, "ask", ask)]


@planted()
def a_passed_deadline_ends_what_may_have_a_request_under_way() -> Any:
    def expire(entry: Entry | None, at: Any) -> Decision:
        if entry is None or not entry.dispatchable or entry.deadline is None or at < entry.deadline:
            return Decision()
        now = rows.shrunk(replace(entry, status=Status.EXPIRED, at=at))
        return Decision(tuple(rows.moved(entry, now)), (*verdicts.verdict(now), Track(now)))

    return [(instruct, "_expire", expire)]


@planted()
def what_has_ended_may_end_again() -> Any:
    stock = observe.observe

    def seen_again(state: Any, event: Any) -> Decision:
        seen = event.outcome
        entry = state.entry(event.key, seen.source.offset)
        ended = entry is not None and entry.status.terminal and entry.policy is not None
        if ended and seen.status is Status.RUN_ENDED and seen.attempt >= entry.attempt:
            return observe._run_ended(state, entry, seen, event.at)
        return stock(state, event)

    return [(observe, "observe", seen_again)]


@planted()
def the_end_of_an_earlier_attempt_ends_the_present_one() -> Any:
    stock = observe.observe

    def seen_again(state: Any, event: Any) -> Decision:
        entry = state.entry(event.key, event.outcome.source.offset)
        if entry is not None and not entry.status.terminal:
            event = replace(event, outcome=replace(event.outcome, attempt=entry.run_attempt))
        return stock(state, event)

    return [(observe, "observe", seen_again)]


@planted()
def what_lets_go_once_its_run_exists_waits_for_nothing_itself() -> Any:
    def ordered(self: Entry) -> bool:
        return self.key is not None and self.policy is not None and self.policy.ordering is Ordering.COMPLETED

    return [(Entry, "ordered", property(ordered))]


@planted()
def a_successor_is_taken_for_a_duplicate() -> Any:
    stock = receive._first_of

    def first_of(state: Any, holder: Any) -> Entry | None:
        heads = (state.entry(key, state.head(key)) for key in (b"a", b"b") if state.head(key) is not None)
        return stock(state, holder) or next(heads, None)

    return [(receive, "_first_of", first_of)]


@planted()
def a_success_is_told_as_a_failure() -> Any:
    stock = observe._run_ended

    def run_ended(state: Any, entry: Entry, seen: Any, at: Any) -> Decision:
        if seen.result is RunState.SUCCESS and seen.attempt == 1:
            seen = replace(seen, result=RunState.FAILED, reason=Reason.RUN_FAILED)
        return stock(state, entry, seen, at)

    return [(observe, "_run_ended", run_ended)]


@planted()
def a_failed_run_is_told_as_a_deleted_one() -> Any:
    stock = observe._run_ended

    def run_ended(state: Any, entry: Entry, seen: Any, at: Any) -> Decision:
        deleted = replace(seen, result=RunState.DELETED) if seen.result is RunState.FAILED else seen
        return stock(state, entry, deleted, at)

    return [(observe, "_run_ended", run_ended)]


@planted()
def the_first_failure_is_the_last() -> Any:
    stock = observe._failed

    def failed(ended: Entry) -> Entry:
        assert ended.policy is not None
        return stock(replace(ended, policy=replace(ended.policy, max_attempts=1)))

    return [(observe, "_failed", failed)]


@planted()
def whoever_says_that_a_deadline_has_passed_is_believed() -> Any:
    def expire(entry: Entry | None, at: Any) -> Decision:
        if entry is None or not entry.dispatchable:
            return Decision()
        now = replace(entry, ending=Status.EXPIRED, at=at)
        return Decision((Put(place(now), now),), (Track(now),))

    return [(instruct, "_expire", expire)]


@planted()
def what_is_skipped_is_said_to_be_cancelled() -> Any:
    return [(instruct, "_ENDS_AS", {Action.SKIP: Status.CANCELLED, Action.CANCEL: Status.SKIPPED})]


@planted()
def its_own_time_is_not_waited_for() -> Any:
    stock = Ready._add

    def add(self: Any, entry: Entry) -> None:
        stock(self, replace(entry, not_before=None))

    return [(Ready, "_add", add)]


@planted()
def a_dead_letter_has_other_bytes() -> Any:
    stock = verdicts.dead_letter_of

    def dead_letter_of(entry: Entry, event: Any = None) -> Any:
        return replace(stock(entry, event), original=Original(b"other"))

    return [(verdicts, "dead_letter_of", dead_letter_of)]


@planted(replayed=True)
def retries_are_jittered_by_chance() -> Any:
    def delay(_: Entry) -> timedelta:
        return timedelta(milliseconds=SystemRandom().randrange(500, 5000))

    return [(observe, "retry_delay", delay)]


# Instructions and rounds


@planted()
def an_instruction_read_again_is_followed_again() -> Any:
    return [(instruct, "_given", lambda *_: None)]


@planted()
def a_refusal_is_not_remembered() -> Any:
    return [(instruct, "_refuse", lambda _scope, _standing, event, why: instruct._nowhere(event, why))]


@planted()
def what_an_operator_stopped_is_started() -> Any:
    return [(Stops, "cover", lambda *_: False)]


@planted()
def a_rebuild_forgets_what_operators_stopped() -> Any:
    return [(Partition, "standings", lambda _: iter(()))]


@planted()
def what_was_let_go_stays_where_it_is() -> Any:
    stock = Ready.steer

    def steer(self: Any, partition: int, scope: Any, *, stopped: bool) -> None:
        if stopped:
            stock(self, partition, scope, stopped=True)
        else:
            self._stops.set(partition, scope, stopped=False)

    return [(Ready, "steer", steer)]


@planted()
def a_first_one_is_cancelled_with_a_request_under_way() -> Any:
    def ended(_: Any, entry: Entry, event: Any) -> Entry | str:
        status = instruct._ENDS_AS[event.instruction.action]
        return "too late" if entry.status.terminal or entry.ending else replace(entry, status=status)

    return [(instruct, "_ended", ended)]


@planted()
def a_redrive_runs_in_the_same_round() -> Any:
    stock = receive.reopen

    def reopen(state: Any, event: Any, reopens: Any) -> Any:
        opened = stock(state, event, reopens)
        return replace(opened, round=reopens.round) if isinstance(opened, Opened) else opened

    return [(receive, "reopen", reopen)]


# Kafka


@planted()
def a_worker_goes_on_after_its_lease() -> Any:
    return [(Lease, "check", lambda *_: None)]


@planted()
def a_new_owner_does_not_catch_up() -> Any:
    return [(Gaps, "caught_up", property(lambda _: True))]


@planted()
def a_record_that_was_skipped_is_not_missed() -> Any:
    def expects(self: Any, tp: Any, offset: int) -> bool:
        wanted = self._next.get(tp)
        if wanted is None or offset < wanted:
            return False
        self._next[tp] = offset + 1
        return True

    return [(Gaps, "expects", expects)]


@planted()
def commands_are_held_for_ever() -> Any:
    return [(Gate, "open", lambda *_: None)]


@planted()
def what_is_not_committed_is_pruned() -> Any:
    stock = prune.expired

    def expired(state: Any, entry: Entry, *, before: Any, committed: int) -> Any:
        return stock(state, entry, before=before, committed=2**63)

    def look(self: Any, now: Any, offsets: Any) -> None:
        self.reached = now

    return [(prune, "expired", expired), (prune.Horizon, "look", look)]
