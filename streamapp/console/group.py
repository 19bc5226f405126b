"""One answer for all workers: reads this worker's partitions and asks the others for theirs. Writes nothing."""

from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from streamapp.console import names
from streamapp.console.fields import Fields, key_fields
from streamapp.console.peers import Answers, Peers
from streamapp.console.queries import HISTORY, PASSED_OVER, QUEUE, Queries, Wanted, newest, standing
from streamapp.console.worker import Worker
from streamapp.observe import health

COMMANDS = "/api/v1/commands"
KEYS = "/api/v1/keys"
STATUS = "/api/v1/status"
WORKERS = "/api/v1/workers"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one thing."""

    fields: Fields | None
    incomplete: list[str]
    """Workers whose partitions could not be looked at."""


class Group:
    """This worker and the others."""

    def __init__(self, worker: Worker, peers: Peers) -> None:
        self._worker = worker
        self._peers = peers
        self._queries = Queries(worker)

    async def command(self, command_id: str, *, local: bool) -> Answer:
        """One command; the others are asked only if it isn't here, or ended here because theirs goes before it."""
        here = await self._queries.command(command_id)
        if here is not None and here["status"] not in PASSED_OVER:
            return Answer(here, [])
        complete = self._queries.complete
        path = f"{COMMANDS}/{names.encoded(command_id.encode())}"
        there = await self._ask(path, [(names.BASE64, "1")], local=local)
        found = [*([] if here is None else [here]), *there.found.values()]
        told = max(found, key=lambda one: standing(str(one.get("status")), str(one.get("recorded_at"))), default=None)
        return Answer(told, self._incomplete(there, complete=complete, local=local))

    async def commands(self, wanted: Wanted, limit: int, *, key: bytes | None, local: bool) -> Fields:
        """Commands, those first that changed last; with a key, those of this key."""
        if key is not None:
            return await self._commands_of(key, wanted, limit, local=local)
        here = await self._queries.commands(wanted, limit)
        query = [("limit", str(limit)), *(("status", status.value) for status in sorted(wanted.statuses))]
        if wanted.dag_id is not None:
            query.append(("dag", wanted.dag_id))
        there = await self._ask(COMMANDS, query, local=local)
        found = [*here.commands, *_collected(there, "commands")]
        found.sort(key=newest, reverse=True)
        return {
            "commands": found[:limit],
            "truncated": here.truncated or len(found) > limit or _any(there, "truncated"),
            "incomplete": self._incomplete(there, complete=here.complete, local=local),
        }

    async def _commands_of(self, key: bytes, wanted: Wanted, limit: int, *, local: bool) -> Fields:
        answer = await self.key(key, local=local)
        known = answer.fields or {"queue": [], "history": [], "queue_truncated": False, "history_truncated": False}
        found = [
            fields
            for fields in (*known["queue"], *known["history"])
            if wanted.takes(fields["status"], fields["dag_id"])
        ]
        found.sort(key=newest, reverse=True)
        return {
            "commands": found[:limit],
            "truncated": known["queue_truncated"] or known["history_truncated"] or len(found) > limit,
            "incomplete": answer.incomplete,
        }

    async def key(self, key: bytes, *, local: bool) -> Answer:
        """A key's queue in order, and what ended last; None in place of fields where there is nothing."""
        here = await self._queries.key(key)
        there = await self._ask(f"{KEYS}/{names.encoded(key)}", [(names.BASE64, "1")], local=local)
        queue = [*here.queue.commands, *_collected(there, "queue")]
        history = [*here.history.commands, *_collected(there, "history")]
        queue.sort(key=lambda fields: (fields["source"]["partition"], fields["source"]["offset"]))
        history.sort(key=newest, reverse=True)
        incomplete = self._incomplete(there, complete=here.queue.complete, local=local)
        holds = sorted([*here.holds, *_collected(there, "holds")], key=lambda hold: int(hold["partition"]))
        if not (queue or history or holds):
            return Answer(None, incomplete)
        fields = {
            **key_fields(key),
            "queue": queue[:QUEUE],
            "queue_truncated": here.queue.truncated or len(queue) > QUEUE or _any(there, "queue_truncated"),
            "history": history[:HISTORY],
            "history_truncated": here.history.truncated or len(history) > HISTORY or _any(there, "history_truncated"),
            "holds": holds,
            "incomplete": incomplete,
        }
        return Answer(fields, incomplete)

    def status(self) -> Fields:
        """This worker."""
        now = self._worker.figures()
        verdict = health.ready(now)
        return {
            "worker": self._worker.membership().url,
            "version": version("streamapp"),
            "ready": verdict.ok,
            "problems": list(verdict.problems),
            "partitions": list(now.partitions),
            "standbys": {str(partition): behind for partition, behind in now.standbys.items()},
            "held": list(now.held),
            "lease_seconds": round(now.lease_remaining.total_seconds(), 3),
            "folds": {"open": now.folds_open, "acked": now.folds_acked},
            "commands": dict(now.phases),
            "airflow": {
                "in_flight": now.airflow.in_flight,
                "limit": now.airflow.limit,
                "bound": now.airflow.bound,
                "lender": now.airflow.lender,
                "breaker": now.airflow.breaker,
                "breaker_why": now.airflow.breaker_why or None,
                "runs": dict(now.following.runs),
                "missing": now.following.missing,
                "unfollowed": now.following.unfollowed,
            },
            "dags": {dag_id: asdict(dag) for dag_id, dag in self._worker.by_dag().items()},
            "outcomes": {status.value: count for status, count in now.outcomes.items()},
            "passed_over": now.passed_over,
        }

    async def workers(self) -> Fields:
        """All workers, this one first."""
        there = await self._ask(STATUS, [], local=False)
        return {"workers": [self.status(), *there.found.values()], "silent": list(there.silent)}

    async def _ask(self, path: str, query: list[tuple[str, str]], *, local: bool) -> Answers:
        if local:
            return Answers()
        member = self._worker.membership()
        return await self._peers.ask(member.workers, member.url, path, query)

    def _incomplete(self, there: Answers, *, complete: bool, local: bool) -> list[str]:
        member = self._worker.membership()
        missing = {*there.silent}
        for answer in there.found.values():
            missing.update(answer.get("incomplete", []))
        if not complete:
            missing.add(member.url)
        elif not local:
            owned = {partition.number for partition in self._worker.partitions}
            missing.update(
                f"the worker of partition {number}, which has no address of its own"
                for number in set(range(member.total)) - owned - member.elsewhere
            )
        return sorted(missing)


def _collected(there: Answers, name: str) -> list[dict[str, Any]]:
    return [fields for answer in there.found.values() for fields in answer.get(name, [])]


def _any(there: Answers, name: str) -> bool:
    return any(answer.get(name) for answer in there.found.values())
