# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics: read from its state at each snapshot.

Source: spec ``metrics.tsv``.
"""

from __future__ import annotations

from collections.abc import Callable

from mesos_compat.agent.machine.state import AgentState, ExecutorPhase
from mesos_compat.base.clock import Clock
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

_COUNTERS = (
    "slave/container_launch_errors",
    "slave/executors_preempted",
    "slave/executors_terminated",
    "slave/invalid_framework_messages",
    "slave/invalid_status_updates",
    "slave/recovery_errors",
    "slave/tasks_failed",
    "slave/tasks_finished",
    "slave/tasks_gone",
    "slave/tasks_killed",
    "slave/tasks_lost",
    "slave/valid_framework_messages",
    "slave/valid_status_updates",
)
_EXECUTOR_PHASES = {
    "slave/executors_registering": ExecutorPhase.REGISTERING,
    "slave/executors_running": ExecutorPhase.RUNNING,
    "slave/executors_terminating": ExecutorPhase.TERMINATING,
}
_TASK_STATES = {
    "slave/tasks_killing": pb.TASK_KILLING,
    "slave/tasks_running": pb.TASK_RUNNING,
    "slave/tasks_staging": pb.TASK_STAGING,
    "slave/tasks_starting": pb.TASK_STARTING,
}
#: Shown from the agent's first id on. There are no resource providers here.
_RESOURCE_PROVIDERS = (
    "resource_provider_manager/subscribed",
    "resource_provider_manager/events/subscribe",
    "resource_provider_manager/events/disconnect",
)
_SCALARS = ("cpus", "gpus", "mem", "disk")
#: What is shown of each.
_SHOWN = [f"{kind}{shown}" for kind in ("", "revocable_") for shown in ("total", "used", "percent")]


def register(
    metrics: Metrics, state: AgentState, clock: Clock, fetcher_cache_bytes: int = 2 << 30
) -> None:
    """Register all metrics of the agent proper; the cache of the fetcher is always empty."""
    metrics.gauge(
        "containerizer/fetcher/cache_size_total_bytes", lambda: float(fetcher_cache_bytes)
    )
    metrics.gauge("containerizer/fetcher/cache_size_used_bytes", lambda: 0.0)
    for name in _COUNTERS:
        metrics.gauge(name, _counter(state, name))
    for name, phase in _EXECUTOR_PHASES.items():
        metrics.gauge(name, _executors(state, phase))
    for name, task_state in _TASK_STATES.items():
        metrics.gauge(name, _tasks(state, task_state))
    metrics.gauge("slave/uptime_secs", lambda: clock.time() - state.start_time)
    metrics.gauge("slave/registered", lambda: 1.0 if state.master else 0.0)
    metrics.gauge("slave/frameworks_active", lambda: float(len(state.frameworks)))
    metrics.gauge("slave/recovery_time_secs", lambda: state.recovery_time_s)
    for name in _RESOURCE_PROVIDERS:
        metrics.gauge(name, lambda: None if state.agent_id is None else 0.0)
    # All at once: what is used is the sum over all tasks.
    metrics.gauges(
        [f"slave/{name}_{shown}" for name in _SCALARS for shown in _SHOWN],
        lambda: _scalars(state),
    )


def _scalars(state: AgentState) -> dict[str, float | None]:
    allocated = Resources.of_valid(state.allocated_resources()).unallocated()
    values: dict[str, float | None] = {}
    for suffix, total, used in (
        ("", Resources.of_valid(state.config.info.resources), allocated.nonrevocable()),
        ("_revocable", Resources.of_valid(state.oversubscribed or ()), allocated.revocable()),
    ):
        for name in _SCALARS:
            whole, part = total.scalar(name) or 0.0, used.scalar(name) or 0.0
            values[f"slave/{name}{suffix}_total"] = whole
            values[f"slave/{name}{suffix}_used"] = part
            values[f"slave/{name}{suffix}_percent"] = part / whole if whole else 0.0
    return values


def _counter(state: AgentState, name: str) -> Callable[[], float]:
    return lambda: float(state.counters.get(name, 0))


def _executors(state: AgentState, phase: ExecutorPhase) -> Callable[[], float]:
    return lambda: float(sum(executor.phase is phase for executor in state.executors()))


def _tasks(state: AgentState, wanted: pb.TaskState) -> Callable[[], float]:
    def count() -> float:
        found = sum(
            task.state == wanted
            for executor in state.executors()
            for task in (*executor.queued.values(), *executor.launched.values())
        )
        if wanted == pb.TASK_STAGING:
            frameworks = state.frameworks.values()
            found += sum(len(p.request.tasks) for each in frameworks for p in each.pending)
        return float(found)

    return count
